import { z } from 'zod'

/** What the process was told by its environment: parsed once, typed, frozen. */
export interface Config {
  readonly host: string
  readonly port: number
  readonly databaseUrl: string
  readonly databasePoolSize: number
  readonly databaseStatementTimeoutMs: number
  readonly storageRoot: string
  /** API key → user */
  readonly apiKeys: ReadonlyMap<string, string>
  /** true when the keys are the well-known development ones */
  readonly developmentKeys: boolean
  readonly chunkSizeBytes: number
  readonly maxUploadBytes: number
  /** of all uploads of a user together; 0 for no limit */
  readonly maxBytesPerUser: number
  readonly maxInflightChunksPerUpload: number
  readonly maxGlobalInflightChunks: number
  readonly taskQueueMaxsize: number
  readonly workerCount: number
  readonly maxConcatParts: number
  readonly uploadTtlMs: number
  readonly idempotencyTtlMs: number
  readonly bodyIdleTimeoutMs: number
  readonly shutdownGraceMs: number
  readonly corsAllowedOrigins: readonly string[]
  readonly publicBaseUrl: string | null
  /** whether forwarded headers tell the truth */
  readonly trustProxy: boolean
  readonly metricsToken: string | null
  readonly logLevel: string
}

/** Every variable that does not parse, a line each. */
export class ConfigError extends Error {}

const integer = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z
    .string()
    .regex(/^\d+$/)
    .transform(Number)
    .refine((value) => value >= least && value <= most)

const list = z.string().transform((text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter(Boolean),
)

/** `key:user,key2:user2`; a user may hold several keys. */
const keyMappings = list
  .transform((pairs) => pairs.map((pair) => pair.split(':').map((part) => part.trim())))
  .refine((pairs) => pairs.length > 0 && pairs.every((pair) => pair.length === 2 && pair[0] && pair[1]))
  .refine((pairs) => new Set(pairs.map(([key]) => key)).size === pairs.length)
  .transform((pairs) => new Map(pairs.map(([key = '', user = '']) => [key, user])))

/** With a host and perhaps a path; without a user, a query or white space. */
const isHttpUrl = (text: string): boolean =>
  /^https?:\/\/[^\s/?#@]+(\/[^\s?#]*)?$/.test(text) && URL.canParse(text)

/**
 * An SQLite file, or a URL that names at least a PostgreSQL database. What a password has of `/?#@` must
 * be encoded: else part of it would pass for something else, and be shown.
 */
const isDatabaseUrl = (text: string): boolean =>
  /^(file|sqlite):./.test(text) ||
  (/^postgres(ql)?:\/\/[^\s/?#]*\/[^\s/?#@]+(\?\S*)?$/.test(text) && URL.canParse(text))

/** One row a variable: how it parses, its default, and what it must be, in words for the operator. */
const VARIABLES = {
  HOST: [z.string(), '127.0.0.1', 'an address to listen on'],
  PORT: [integer(0, 65_535), '8000', 'a port from 0 to 65535'],
  DATABASE_URL: [
    z.string().refine(isDatabaseUrl),
    'file:./data/uploads.db',
    'an SQLite file (file:./data/uploads.db) or a database (postgresql://user:password@host:5432/uploads)',
  ],
  DATABASE_POOL_SIZE: [integer(1, 1_000), '10', 'a whole number from 1 to 1000'],
  DATABASE_STATEMENT_TIMEOUT_SECONDS: [integer(1, 600), '10', 'a number of seconds from 1 to 600'],
  STORAGE_BACKEND: [z.literal('local'), 'local', 'local'],
  STORAGE_ROOT: [z.string(), './data/files', 'a folder'],
  API_KEY_MAPPINGS: [keyMappings, 'dev-key:dev-user', 'key:user pairs, separated by commas'],
  CHUNK_SIZE_BYTES: [integer(1), '5242880', 'a number of bytes, at least 1'],
  MAX_UPLOAD_BYTES: [integer(1), '50000000000', 'a number of bytes, at least 1'],
  MAX_BYTES_PER_USER: [integer(0), '0', 'a number of bytes, or 0 for no limit'],
  MAX_INFLIGHT_CHUNKS_PER_UPLOAD: [integer(1), '8', 'a whole number, at least 1'],
  MAX_GLOBAL_INFLIGHT_CHUNKS: [integer(1), '128', 'a whole number, at least 1'],
  TASK_QUEUE_MAXSIZE: [integer(1), '512', 'a whole number, at least 1'],
  WORKER_COUNT: [integer(1), '16', 'a whole number, at least 1'],
  MAX_CONCAT_PARTS: [integer(1, 10_000), '1000', 'a whole number from 1 to 10000'],
  UPLOAD_TTL_SECONDS: [integer(1, 3_153_600_000), '86400', 'a number of seconds, at least 1'],
  IDEMPOTENCY_TTL_SECONDS: [integer(1, 3_153_600_000), '86400', 'a number of seconds, at least 1'],
  BODY_IDLE_TIMEOUT_SECONDS: [integer(1, 86_400), '60', 'a number of seconds from 1 to 86400'],
  SHUTDOWN_GRACE_SECONDS: [integer(0, 3_600), '30', 'a number of seconds from 0 to 3600'],
  CORS_ALLOWED_ORIGINS: [
    list.refine((origins) =>
      origins.every((origin) => origin === '*' || (isHttpUrl(origin) && new URL(origin).origin === origin)),
    ),
    '',
    'origins such as https://app.example.com, separated by commas, or *',
  ],
  PUBLIC_BASE_URL: [
    z.string().refine((text) => text === '' || text === '/' || isHttpUrl(text)),
    '',
    'the http(s) URL that clients reach this server by, or / for relative URLs',
  ],
  TRUST_PROXY: [
    z.enum(['0', '1', 'false', 'true']).transform((text) => text === '1' || text === 'true'),
    'false',
    'true or false',
  ],
  METRICS_TOKEN: [z.string(), '', 'a token'],
  LOG_LEVEL: [
    z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'fatal, error, warn, info, debug, trace or silent',
  ],
} as const satisfies Record<string, readonly [z.ZodType, string, string]>

/** Accepted where the variable itself is not set. */
const OTHER_NAMES: Readonly<Record<string, string>> = { UPLOAD_TTL_SECONDS: 'STALE_UPLOAD_TTL_SECONDS' }

type Values = { [K in keyof typeof VARIABLES]: z.output<(typeof VARIABLES)[K][0]> }

/**
 * @param env such as process.env; an empty value counts as unset
 * @throws {ConfigError} naming every variable that does not parse and what it must be
 */
export function parseConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const givenAs = (name: string) => (env[name] ? name : (OTHER_NAMES[name] ?? name))
  const problems: string[] = []
  const values: Record<string, unknown> = {}
  for (const [name, [schema, fallback, words]] of Object.entries(VARIABLES)) {
    const parsed = schema.safeParse(env[givenAs(name)] || fallback)
    if (parsed.success) values[name] = parsed.data
    else problems.push(`${givenAs(name)} must be ${words}`)
  }
  if (!env['API_KEY_MAPPINGS'] && env['NODE_ENV'] === 'production')
    problems.push('API_KEY_MAPPINGS must be set when NODE_ENV is production')
  if (problems.length > 0) throw new ConfigError(problems.join('\n'))

  const v = values as Values
  return Object.freeze({
    host: v.HOST,
    port: v.PORT,
    databaseUrl: v.DATABASE_URL,
    databasePoolSize: v.DATABASE_POOL_SIZE,
    databaseStatementTimeoutMs: v.DATABASE_STATEMENT_TIMEOUT_SECONDS * 1000,
    storageRoot: v.STORAGE_ROOT,
    apiKeys: v.API_KEY_MAPPINGS,
    developmentKeys: !env['API_KEY_MAPPINGS'],
    chunkSizeBytes: v.CHUNK_SIZE_BYTES,
    maxUploadBytes: v.MAX_UPLOAD_BYTES,
    maxBytesPerUser: v.MAX_BYTES_PER_USER,
    maxInflightChunksPerUpload: v.MAX_INFLIGHT_CHUNKS_PER_UPLOAD,
    maxGlobalInflightChunks: v.MAX_GLOBAL_INFLIGHT_CHUNKS,
    taskQueueMaxsize: v.TASK_QUEUE_MAXSIZE,
    workerCount: v.WORKER_COUNT,
    maxConcatParts: v.MAX_CONCAT_PARTS,
    uploadTtlMs: v.UPLOAD_TTL_SECONDS * 1000,
    idempotencyTtlMs: v.IDEMPOTENCY_TTL_SECONDS * 1000,
    bodyIdleTimeoutMs: v.BODY_IDLE_TIMEOUT_SECONDS * 1000,
    shutdownGraceMs: v.SHUTDOWN_GRACE_SECONDS * 1000,
    corsAllowedOrigins: v.CORS_ALLOWED_ORIGINS,
    publicBaseUrl: v.PUBLIC_BASE_URL === '' ? null : v.PUBLIC_BASE_URL.replace(/\/+$/, ''),
    trustProxy: v.TRUST_PROXY,
    metricsToken: v.METRICS_TOKEN || null,
    logLevel: v.LOG_LEVEL,
  })
}
