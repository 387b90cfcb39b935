import type { KeyObject } from 'node:crypto'
import type { SigningKey } from '../core/ports/ledger.ts'
import { readJwtKey, type JwtAlgorithm } from './jwt-key.ts'
import { storageOf, storageProblems, type Storage } from './storage.ts'
import { tracingOf, type Tracing } from './tracing.ts'
import { VARIABLES, type AuthMode, type Values } from './variables.ts'
import { webhookProblems, webhooksOf, type Webhooks } from './webhooks.ts'

/** What the process was told by its environment: parsed once, typed, frozen. */
export interface Config {
  readonly host: string
  readonly port: number
  /** processes that serve the port together; 1 is this one alone */
  readonly webConcurrency: number
  readonly databaseUrl: string
  readonly databasePoolSize: number
  readonly databaseStatementTimeoutMs: number
  /** whether places are leased in the database, so that several processes may work on it */
  readonly leases: boolean
  readonly storage: Storage
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
  /** what links and upload tokens are signed with, the first, or verified; empty for a key in the database */
  readonly linkKeys: readonly SigningKey[]
  /** how long a link is good whose maker does not say it */
  readonly linkDefaultSeconds: number
  readonly linkMaxSeconds: number
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
  /** null where nobody is told of events */
  readonly webhooks: Webhooks | null
  readonly metricsToken: string | null
  readonly logLevel: string
  readonly auditLog: boolean
  /** null when nothing is traced */
  readonly tracing: Tracing | null
}

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

/** Accepted where the variable itself is not set. */
const OTHER_NAMES: Readonly<Record<string, string>> = { UPLOAD_TTL_SECONDS: 'STALE_UPLOAD_TTL_SECONDS' }

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
  const several = Number(values['WEB_CONCURRENCY'] ?? 1) > 1
  if (values['LEASES'] === 'off' && several && onSqlite)
    problems.push('LEASES must be auto or on with WEB_CONCURRENCY: its processes lease what they write to')
  if (several && /^(file|sqlite)::memory:/.test(String(values['DATABASE_URL'])))
    problems.push('DATABASE_URL must be a file with WEB_CONCURRENCY, whose processes share no memory')
  const v = values as Values
  const takesKeys = v.AUTH_MODE !== 'jwt'
  const jwt = v.AUTH_MODE === 'jwt' || v.AUTH_MODE === 'hybrid' ? jwtRules(v) : null
  if (typeof jwt === 'string') problems.push(jwt)
  if (takesKeys && !env['API_KEY_MAPPINGS'] && env['NODE_ENV'] === 'production')
    problems.push('API_KEY_MAPPINGS must be set when NODE_ENV is production')
  // What does not fit together is told when every value by itself makes sense.
  if (problems.length === 0) problems.push(...storageProblems(v), ...webhookProblems(v))
  if (problems.length > 0 || typeof jwt === 'string') throw new ConfigError(problems.join('\n'))

  return Object.freeze({
    host: v.HOST,
    port: v.PORT,
    webConcurrency: v.WEB_CONCURRENCY,
    databaseUrl: v.DATABASE_URL,
    databasePoolSize: v.DATABASE_POOL_SIZE,
    databaseStatementTimeoutMs: v.DATABASE_STATEMENT_TIMEOUT_SECONDS * 1000,
    leases: v.LEASES === 'on' || (v.LEASES === 'auto' && (!onSqlite || several)),
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
    linkKeys: v.LINK_KEYS,
    linkDefaultSeconds: Math.min(v.LINK_DEFAULT_SECONDS, v.LINK_MAX_SECONDS),
    linkMaxSeconds: v.LINK_MAX_SECONDS,
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
    webhooks: webhooksOf(v),
    metricsToken: v.METRICS_TOKEN || null,
    logLevel: v.LOG_LEVEL,
    auditLog: v.AUDIT_LOG === 'on',
    tracing: tracingOf(v),
  })
}

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
