import type { KeyObject } from 'node:crypto'
import { z } from 'zod'
import { MAX_CELLS } from './core/geometry.ts'
import { JWT_ALGORITHMS, readJwtKey, type JwtAlgorithm } from './jwt-key.ts'

/** What the process was told by its environment: parsed once, typed, frozen. */
export interface Config {
  readonly host: string
  readonly port: number
  readonly databaseUrl: string
  readonly databasePoolSize: number
  readonly databaseStatementTimeoutMs: number
  /** whether places are leased in the database, so that several processes may work on it */
  readonly leases: boolean
  readonly storage: { readonly backend: 'local'; readonly root: string } | S3Config
  /** what no new upload may take of the room on the disk; 0 takes any */
  readonly minFreeDiskBytes: number
  /** what an acknowledged byte outlives: a crash of the process, or a power failure as well */
  readonly durability: 'process' | 'disk'
  readonly authMode: AuthMode
  /** API key → user; empty where keys are not taken */
  readonly apiKeys: ReadonlyMap<string, string>
  /** true when the keys are the well-known development ones */
  readonly developmentKeys: boolean
  /** null where tokens are not taken */
  readonly jwt: JwtRules | null
  readonly adminUserIds: readonly string[]
  /** requests of one key; 0 for no limit */
  readonly apiRateLimitPerMinute: number
  /** different wrong keys from one address; 0 for no limit */
  readonly authFailuresPerMinute: number
  readonly chunkSizeBytes: number
  readonly maxUploadBytes: number
  /** of all uploads of a user together; 0 for no limit */
  readonly maxBytesPerUser: number
  readonly maxInflightChunksPerUpload: number
  readonly maxFairInflightChunksPerUpload: number
  readonly maxGlobalInflightChunks: number
  readonly taskQueueMaxsize: number
  readonly workerCount: number
  /** how long a tus body waits to be admitted; 0 to refuse it at once */
  readonly admissionWaitMs: number
  readonly maxConcatParts: number
  readonly uploadTtlMs: number
  readonly idempotencyTtlMs: number
  /** how often expired uploads are looked for */
  readonly reapIntervalMs: number
  readonly headerTimeoutMs: number
  readonly bodyIdleTimeoutMs: number
  /** whether large bodies go past the HTTP parser */
  readonly fastLane: boolean
  /** smaller bodies are read by the parser all the same */
  readonly fastLaneMinBytes: number
  readonly shutdownGraceMs: number
  readonly corsAllowedOrigins: readonly string[]
  readonly publicBaseUrl: string | null
  /** whether forwarded headers tell the truth */
  readonly trustProxy: boolean
  readonly metricsToken: string | null
  readonly logLevel: string
}

/** A bucket, and how it is used. What is null is left to the SDK or to the bucket. */
export interface S3Config {
  readonly backend: 's3' | 'r2'
  readonly bucket: string
  readonly region: string
  readonly endpoint: string | null
  readonly credentials: { readonly accessKeyId: string; readonly secretAccessKey: string } | null
  readonly forcePathStyle: boolean
  readonly keyPrefix: string
  readonly encryption: { readonly algorithm: 'AES256' | 'aws:kms'; readonly keyId: string | null } | null
  readonly storageClass: string | null
  readonly partBufferBytes: number
  readonly maxRetries: number
  /** null: downloads go through us */
  readonly presignedSeconds: number | null
}

export type AuthMode = (typeof AUTH_MODES)[number]
const AUTH_MODES = ['api_key', 'jwt', 'hybrid'] as const

/** By what a token is verified, and what it must say. */
export interface JwtRules {
  readonly algorithm: JwtAlgorithm
  readonly key: KeyObject
  /** null where a token may be for anybody, or of anybody */
  readonly audience: string | null
  readonly issuer: string | null
}

/** Every variable that does not parse, a line each. */
export class ConfigError extends Error {}

const MIB = 1024 * 1024

const integer = (least: number, most = Number.MAX_SAFE_INTEGER) =>
  z
    .string()
    .regex(/^\d+$/)
    .transform(Number)
    .refine((value) => value >= least && value <= most)

const flag = z.enum(['0', '1', 'false', 'true']).transform((text) => text === '1' || text === 'true')

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

const bucketName = z.string().regex(/^([\w.-]{3,255})?$/)
const endpointUrl = z.string().refine((text) => text === '' || isHttpUrl(text))

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
  // A transaction may take 30 s, and is to hear of its statement before.
  DATABASE_STATEMENT_TIMEOUT_SECONDS: [integer(1, 20), '10', 'a number of seconds from 1 to 20'],
  LEASES: [z.enum(['auto', 'on', 'off']), 'auto', 'auto, on or off'],
  STORAGE_BACKEND: [z.enum(['local', 's3', 'r2']), 'local', 'local, s3 or r2'],
  STORAGE_ROOT: [z.string(), './data/files', 'a folder'],
  MIN_FREE_DISK_BYTES: [integer(0), '67108864', 'a number of bytes; 0 for no limit'],
  DURABILITY: [z.enum(['process', 'disk']), 'process', 'process or disk'],
  S3_BUCKET: [bucketName, '', 'the name of a bucket'],
  AWS_REGION: [z.string().regex(/^[a-z0-9-]+$/), 'us-east-1', 'a region such as eu-central-1'],
  S3_ENDPOINT_URL: [endpointUrl, '', 'an http(s) URL'],
  S3_ACCESS_KEY_ID: [z.string(), '', 'the id of an access key'],
  S3_SECRET_ACCESS_KEY: [z.string(), '', 'a secret access key'],
  S3_FORCE_PATH_STYLE: [flag, 'false', 'true or false'],
  S3_KEY_PREFIX: [
    z.string().regex(/^(?!.*(^|\/)\.{0,2}\/)[\w./-]+$/),
    'uploads/',
    'letters, digits and . _ - /, without a slash at the start or two in a row',
  ],
  S3_SSE: [z.enum(['', 'AES256', 'aws:kms']), '', 'AES256 or aws:kms'],
  S3_SSE_KMS_KEY_ID: [z.string(), '', 'the id or the ARN of a KMS key'],
  S3_STORAGE_CLASS: [z.string().regex(/^[A-Z_]*$/), '', 'a storage class such as STANDARD_IA'],
  S3_PART_BUFFER_BYTES: [integer(8 * MIB), '134217728', 'a number of bytes, at least 8388608'],
  R2_ACCOUNT_ID: [z.string().regex(/^[0-9a-f]*$/), '', 'the id of a Cloudflare account'],
  R2_BUCKET: [bucketName, '', 'the name of a bucket'],
  R2_ACCESS_KEY_ID: [z.string(), '', 'the id of an R2 token'],
  R2_SECRET_ACCESS_KEY: [z.string(), '', 'the secret of an R2 token'],
  R2_ENDPOINT_URL: [endpointUrl, '', 'an http(s) URL'],
  MAX_RETRIES: [integer(0, 100), '3', 'a whole number from 0 to 100'],
  DOWNLOAD_REDIRECT: [z.enum(['off', 'presigned']), 'off', 'off or presigned'],
  PRESIGNED_URL_SECONDS: [integer(1, 604_800), '300', 'a number of seconds from 1 to 604800'],
  AUTH_MODE: [z.enum(AUTH_MODES), 'api_key', 'api_key, jwt or hybrid'],
  API_KEY_MAPPINGS: [keyMappings, 'dev-key:dev-user', 'key:user pairs, separated by commas'],
  JWT_SECRET: [z.string(), '', 'a secret, or a public key'],
  JWT_ALGORITHM: [z.enum(JWT_ALGORITHMS), 'HS256', JWT_ALGORITHMS.join(', ')],
  JWT_AUDIENCE: [z.string(), '', 'a name'],
  JWT_ISSUER: [z.string(), '', 'a name'],
  ADMIN_USER_IDS: [list, '', 'users, separated by commas'],
  API_RATE_LIMIT_PER_MINUTE: [integer(0), '0', 'a whole number; 0 is no limit'],
  AUTH_FAILURES_PER_MINUTE: [integer(0, 10_000), '30', 'a whole number from 0, no limit, to 10000'],
  CHUNK_SIZE_BYTES: [integer(1), '5242880', 'a number of bytes, at least 1'],
  MAX_UPLOAD_BYTES: [integer(1), '50000000000', 'a number of bytes, at least 1'],
  MAX_BYTES_PER_USER: [integer(0), '0', 'a number of bytes, or 0 for no limit'],
  MAX_INFLIGHT_CHUNKS_PER_UPLOAD: [integer(1), '8', 'a whole number, at least 1'],
  MAX_FAIR_INFLIGHT_CHUNKS_PER_UPLOAD: [integer(0), '0', 'a whole number; 0 is half of the workers'],
  MAX_GLOBAL_INFLIGHT_CHUNKS: [integer(1), '128', 'a whole number, at least 1'],
  TASK_QUEUE_MAXSIZE: [integer(1), '512', 'a whole number, at least 1'],
  ADMISSION_WAIT_SECONDS: [integer(0, 3_600), '30', 'a number of seconds from 0 to 3600'],
  WORKER_COUNT: [integer(1), '16', 'a whole number, at least 1'],
  MAX_CONCAT_PARTS: [integer(1, 10_000), '1000', 'a whole number from 1 to 10000'],
  UPLOAD_TTL_SECONDS: [integer(1, 3_153_600_000), '86400', 'a number of seconds, at least 1'],
  IDEMPOTENCY_TTL_SECONDS: [integer(1, 3_153_600_000), '86400', 'a number of seconds, at least 1'],
  REAP_INTERVAL_SECONDS: [integer(1, 86_400), '60', 'a number of seconds from 1 to 86400'],
  HEADER_TIMEOUT_SECONDS: [integer(1, 3_600), '30', 'a number of seconds from 1 to 3600'],
  BODY_IDLE_TIMEOUT_SECONDS: [integer(1, 86_400), '60', 'a number of seconds from 1 to 86400'],
  FAST_LANE: [flag, '1', '0 or 1'],
  FAST_LANE_MIN_BYTES: [integer(1), '262144', 'a number of bytes, at least 1'],
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
  TRUST_PROXY: [flag, 'false', 'true or false'],
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
  const onSqlite = /^(file|sqlite):/.test(env['DATABASE_URL'] || VARIABLES.DATABASE_URL[1])
  if (values['LEASES'] === 'off' && !onSqlite)
    problems.push('LEASES must be auto or on with PostgreSQL, which any number of processes may use')
  const v = values as Values
  const takesKeys = v.AUTH_MODE !== 'jwt'
  const jwt = v.AUTH_MODE === 'jwt' || v.AUTH_MODE === 'hybrid' ? jwtRules(v) : null
  if (typeof jwt === 'string') problems.push(jwt)
  if (takesKeys && !env['API_KEY_MAPPINGS'] && env['NODE_ENV'] === 'production')
    problems.push('API_KEY_MAPPINGS must be set when NODE_ENV is production')
  // What does not fit together is told when every value by itself makes sense.
  if (problems.length === 0) problems.push(...storageProblems(v))
  if (problems.length > 0 || typeof jwt === 'string') throw new ConfigError(problems.join('\n'))

  return Object.freeze({
    host: v.HOST,
    port: v.PORT,
    databaseUrl: v.DATABASE_URL,
    databasePoolSize: v.DATABASE_POOL_SIZE,
    databaseStatementTimeoutMs: v.DATABASE_STATEMENT_TIMEOUT_SECONDS * 1000,
    leases: v.LEASES === 'on' || (v.LEASES === 'auto' && !onSqlite),
    storage: Object.freeze(storageOf(v)),
    minFreeDiskBytes: v.MIN_FREE_DISK_BYTES,
    durability: v.DURABILITY,
    authMode: v.AUTH_MODE,
    apiKeys: takesKeys ? v.API_KEY_MAPPINGS : new Map(),
    developmentKeys: takesKeys && !env['API_KEY_MAPPINGS'],
    jwt,
    adminUserIds: v.ADMIN_USER_IDS,
    apiRateLimitPerMinute: v.API_RATE_LIMIT_PER_MINUTE,
    authFailuresPerMinute: v.AUTH_FAILURES_PER_MINUTE,
    chunkSizeBytes: v.CHUNK_SIZE_BYTES,
    maxUploadBytes: v.MAX_UPLOAD_BYTES,
    maxBytesPerUser: v.MAX_BYTES_PER_USER,
    maxInflightChunksPerUpload: v.MAX_INFLIGHT_CHUNKS_PER_UPLOAD,
    maxFairInflightChunksPerUpload: v.MAX_FAIR_INFLIGHT_CHUNKS_PER_UPLOAD,
    maxGlobalInflightChunks: v.MAX_GLOBAL_INFLIGHT_CHUNKS,
    taskQueueMaxsize: v.TASK_QUEUE_MAXSIZE,
    workerCount: v.WORKER_COUNT,
    admissionWaitMs: v.ADMISSION_WAIT_SECONDS * 1000,
    maxConcatParts: v.MAX_CONCAT_PARTS,
    uploadTtlMs: v.UPLOAD_TTL_SECONDS * 1000,
    idempotencyTtlMs: v.IDEMPOTENCY_TTL_SECONDS * 1000,
    reapIntervalMs: v.REAP_INTERVAL_SECONDS * 1000,
    headerTimeoutMs: v.HEADER_TIMEOUT_SECONDS * 1000,
    bodyIdleTimeoutMs: v.BODY_IDLE_TIMEOUT_SECONDS * 1000,
    fastLane: v.FAST_LANE,
    fastLaneMinBytes: v.FAST_LANE_MIN_BYTES,
    shutdownGraceMs: v.SHUTDOWN_GRACE_SECONDS * 1000,
    corsAllowedOrigins: v.CORS_ALLOWED_ORIGINS,
    publicBaseUrl: v.PUBLIC_BASE_URL === '' ? null : v.PUBLIC_BASE_URL.replace(/\/+$/, ''),
    trustProxy: v.TRUST_PROXY,
    metricsToken: v.METRICS_TOKEN || null,
    logLevel: v.LOG_LEVEL,
  })
}

const orNull = (text: string): string | null => text || null

function storageOf(v: Values): Config['storage'] {
  if (v.STORAGE_BACKEND === 'local') return { backend: 'local', root: v.STORAGE_ROOT }
  const shared = {
    keyPrefix: v.S3_KEY_PREFIX,
    encryption: v.S3_SSE ? { algorithm: v.S3_SSE, keyId: orNull(v.S3_SSE_KMS_KEY_ID) } : null,
    storageClass: orNull(v.S3_STORAGE_CLASS),
    partBufferBytes: v.S3_PART_BUFFER_BYTES,
    maxRetries: v.MAX_RETRIES,
    presignedSeconds: v.DOWNLOAD_REDIRECT === 'presigned' ? v.PRESIGNED_URL_SECONDS : null,
  }
  if (v.STORAGE_BACKEND === 'r2')
    return {
      ...shared,
      backend: 'r2',
      bucket: v.R2_BUCKET,
      region: 'auto',
      endpoint: v.R2_ENDPOINT_URL || `https://${v.R2_ACCOUNT_ID}.r2.cloudflarestorage.com`,
      credentials: { accessKeyId: v.R2_ACCESS_KEY_ID, secretAccessKey: v.R2_SECRET_ACCESS_KEY },
      forcePathStyle: true,
    }
  const credentials = { accessKeyId: v.S3_ACCESS_KEY_ID, secretAccessKey: v.S3_SECRET_ACCESS_KEY }
  return {
    ...shared,
    backend: 's3',
    bucket: v.S3_BUCKET,
    region: v.AWS_REGION,
    endpoint: orNull(v.S3_ENDPOINT_URL),
    credentials: v.S3_ACCESS_KEY_ID ? credentials : null,
    forcePathStyle: v.S3_FORCE_PATH_STYLE,
  }
}

/** What is missing for the storage that was chosen, or does not go with it. */
function storageProblems(v: Values): string[] {
  if (v.STORAGE_BACKEND === 'local')
    return v.DOWNLOAD_REDIRECT === 'off'
      ? []
      : ['DOWNLOAD_REDIRECT must be off when STORAGE_BACKEND is local']
  const longestFile = MAX_CELLS * v.S3_PART_BUFFER_BYTES
  const problems: [boolean, string][] = [
    [v.CHUNK_SIZE_BYTES > v.S3_PART_BUFFER_BYTES, 'CHUNK_SIZE_BYTES must be at most S3_PART_BUFFER_BYTES'],
    [
      v.MAX_UPLOAD_BYTES > longestFile,
      `MAX_UPLOAD_BYTES must be at most ${MAX_CELLS} times S3_PART_BUFFER_BYTES`,
    ],
    [
      v.S3_SSE_KMS_KEY_ID !== '' && v.S3_SSE !== 'aws:kms',
      'S3_SSE must be aws:kms when S3_SSE_KMS_KEY_ID is set',
    ],
    ...(v.STORAGE_BACKEND === 'r2' ? r2Problems(v) : s3Problems(v)),
  ]
  return problems.flatMap(([wrong, words]) => (wrong ? [words] : []))
}

const s3Problems = (v: Values): [boolean, string][] => [
  [v.S3_BUCKET === '', 'S3_BUCKET must be set when STORAGE_BACKEND is s3'],
  [
    (v.S3_ACCESS_KEY_ID === '') !== (v.S3_SECRET_ACCESS_KEY === ''),
    'S3_ACCESS_KEY_ID and S3_SECRET_ACCESS_KEY must be set together',
  ],
]

const r2Problems = (v: Values): [boolean, string][] => [
  [v.R2_BUCKET === '', 'R2_BUCKET must be set when STORAGE_BACKEND is r2'],
  [v.R2_ACCESS_KEY_ID === '', 'R2_ACCESS_KEY_ID must be set when STORAGE_BACKEND is r2'],
  [v.R2_SECRET_ACCESS_KEY === '', 'R2_SECRET_ACCESS_KEY must be set when STORAGE_BACKEND is r2'],
  [
    v.R2_ACCOUNT_ID === '' && v.R2_ENDPOINT_URL === '',
    'R2_ACCOUNT_ID or R2_ENDPOINT_URL must be set when STORAGE_BACKEND is r2',
  ],
  [v.S3_SSE !== '', 'S3_SSE must not be set when STORAGE_BACKEND is r2: R2 encrypts everything itself'],
]

/** @returns what is wrong, as a line for the operator, when there is no key; null when another line tells it */
function jwtRules({
  JWT_SECRET: secret,
  JWT_ALGORITHM: algorithm,
  JWT_AUDIENCE: audience,
  JWT_ISSUER: issuer,
}: Values): JwtRules | string | null {
  if (!secret) return 'JWT_SECRET must be set when AUTH_MODE is jwt or hybrid'
  if (!algorithm) return null
  const key = readJwtKey(algorithm, secret)
  if ('mustBe' in key) return `JWT_SECRET must be ${key.mustBe}`
  return { algorithm, key, audience: audience || null, issuer: issuer || null }
}
