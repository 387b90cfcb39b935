import { z } from 'zod'
import { JWT_ALGORITHMS } from './jwt-key.ts'
import { linkKeys } from './link-keys.ts'

export type AuthMode = (typeof AUTH_MODES)[number]
const AUTH_MODES = ['api_key', 'jwt', 'hybrid'] as const

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

const otlpProtocol = z.enum(['http/protobuf', 'http/json'])

const bucketName = z.string().regex(/^([\w.-]{3,255})?$/)
const endpointUrl = z.string().refine((text) => text === '' || isHttpUrl(text))

/**
 * Where events go. A query may be part of it. What a user or a password says would be sent in no request, and
 * no index of PostgreSQL takes what is much longer.
 */
const isReceiverUrl = (text: string): boolean =>
  text.length <= 2_000 && /^https?:\/\/[^\s/?#@]+([/?][^\s#]*)?$/.test(text) && URL.canParse(text)

/** Base64 of 24 to 64 bytes, behind `whsec_` or not, as Standard Webhooks writes secrets. */
const webhookSecret = z
  .string()
  .regex(/^(whsec_)?[A-Za-z0-9+/]+={0,2}$/)
  .transform((text) => Buffer.from(text.replace(/^whsec_/, ''), 'base64'))
  .refine(({ length }) => length >= 24 && length <= 64)

/** One row a variable: how it parses, its default, and what it must be, in words for the operator. */
export const VARIABLES = {
  HOST: [z.string(), '127.0.0.1', 'an address to listen on'],
  PORT: [integer(0, 65_535), '8000', 'a port from 0 to 65535'],
  WEB_CONCURRENCY: [integer(1, 128), '1', 'a whole number from 1 to 128'],
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
  S3_PART_BUFFER_BYTES: [integer(8 * MIB), '50331648', 'a number of bytes, at least 8388608'],
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
  LINK_KEYS: [linkKeys, '', 'id:secret pairs, separated by commas, each secret of 32 bytes or more'],
  LINK_DEFAULT_SECONDS: [integer(1, 315_360_000), '3600', 'a number of seconds from 1 to 315360000'],
  LINK_MAX_SECONDS: [integer(1, 315_360_000), '604800', 'a number of seconds from 1 to 315360000'],
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
  WEBHOOK_URL: [
    list
      .refine((urls) => urls.every(isReceiverUrl))
      .transform((urls) => [...new Set(urls.map((url) => new URL(url).href))]),
    '',
    'http(s) URLs, separated by commas, without a user or a fragment',
  ],
  WEBHOOK_SECRET: [
    list.pipe(z.array(webhookSecret)),
    '',
    'whsec_ and base64 of 24 to 64 bytes; several are separated by commas',
  ],
  WEBHOOK_MAX_ATTEMPTS: [integer(1, 100), '15', 'a whole number from 1 to 100'],
  WEBHOOK_RETRY_SECONDS: [integer(1, 3_600), '5', 'a number of seconds from 1 to 3600'],
  WEBHOOK_TIMEOUT_SECONDS: [integer(1, 60), '10', 'a number of seconds from 1 to 60'],
  METRICS_TOKEN: [z.string(), '', 'a token'],
  LOG_LEVEL: [
    z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent']),
    'info',
    'fatal, error, warn, info, debug, trace or silent',
  ],
  AUDIT_LOG: [z.enum(['on', 'off']), 'off', 'on or off'],
  OTEL_EXPORTER_OTLP_ENDPOINT: [endpointUrl, '', 'the http(s) URL of a collector of traces'],
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: [endpointUrl, '', 'the http(s) URL of a collector of traces'],
  OTEL_EXPORTER_OTLP_PROTOCOL: [otlpProtocol, 'http/protobuf', 'http/protobuf or http/json'],
  OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: [otlpProtocol.or(z.literal('')), '', 'http/protobuf or http/json'],
  OTEL_TRACES_EXPORTER: [z.enum(['otlp', 'none']), 'otlp', 'otlp or none'],
  OTEL_SDK_DISABLED: [flag, 'false', 'true or false'],
} as const satisfies Record<string, readonly [z.ZodType, string, string]>

/** What they parse to. */
export type Values = { [K in keyof typeof VARIABLES]: z.output<(typeof VARIABLES)[K][0]> }
