export const DEFAULT_DATABASE_URL = 'file:./data/uploads.db'

export type Provider = 'sqlite' | 'postgresql'

/** @throws when the URL is of no database we know */
export function providerOf(url: string): Provider {
  if (/^postgres(ql)?:\/\//.test(url)) return 'postgresql'
  if (/^(file|sqlite):./.test(url)) return 'sqlite'
  throw new Error(
    `DATABASE_URL must be an SQLite file, such as ${DEFAULT_DATABASE_URL}, or a PostgreSQL database, ` +
      'such as postgresql://user:password@localhost:5432/uploads.',
  )
}

/** The path in `file:./a.db`, `file:///var/a.db` or `file:/var/a.db?…`. */
export const sqlitePath = (url: string): string =>
  /^(?:file|sqlite):(?:\/\/(?=\/))?([^?]+)/.exec(url)?.[1] ?? url

/** The URL as it may be shown to people: without the password and whatever else stands in its options. */
export function shownUrl(url: string): string {
  if (providerOf(url) === 'sqlite') return url
  const { protocol, username, host, pathname } = new URL(url)
  return `${protocol}//${username && `${username}@`}${host}${pathname}`
}
