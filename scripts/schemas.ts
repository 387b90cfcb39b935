export const PROVIDERS = ['sqlite', 'postgresql'] as const
export type Provider = (typeof PROVIDERS)[number]

/**
 * What the hand-written schema, which is SQLite's, says for a database. The output of its client is
 * beside the derived schema.
 */
export function schemaFor(provider: Provider, schema: string): string {
  const renamed = replaceOnce(
    replaceOnce(schema, /^( +output +=) ".*"$/m, `$1 "./${provider}"`),
    /^( +provider =) "sqlite"$/m,
    `$1 "${provider}"`,
  )
  return provider === 'sqlite' ? renamed : withNativeTypes(renamed)
}

/**
 * An instant is one whatever the session's time zone; Prisma's own choice is a type without one.
 * JSON stays as it was written, with its keys in their order: tus gives metadata back as it came.
 * Numbers that are counted up have 64 bits, as in SQLite any such has.
 */
const withNativeTypes = (schema: string): string =>
  schema
    .replaceAll(/^( +\w+ +DateTime\??)/gm, '$1 @db.Timestamptz(3)')
    .replaceAll(/^( +\w+ +Json\??)/gm, '$1 @db.Json')
    .replaceAll(/^( +\w+ +)Int( +@id @default\(autoincrement\(\)\))/gm, '$1BigInt$2')

function replaceOnce(text: string, pattern: RegExp, replacement: string): string {
  if (!pattern.test(text)) throw new Error(`prisma/schema.prisma has nothing like ${pattern.source}`)
  return text.replace(pattern, replacement)
}
