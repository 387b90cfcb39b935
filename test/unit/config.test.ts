import { describe, expect, it } from 'vitest'
import { ConfigError, parseConfig, type Config } from '../../src/config/config.ts'

type Env = Record<string, string | undefined>

/** What the operator reads when the start is refused, a line each. */
function complaints(env: Env): string[] {
  try {
    parseConfig(env)
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message.split('\n')
  }
  return []
}

/** The only line that the operator reads. */
function complaint(env: Env): string {
  const lines = complaints(env)
  expect(lines).toHaveLength(1)
  return String(lines[0])
}

interface Row {
  key: keyof Config
  unset: unknown
  good: [text: string, value: unknown][]
  bad: string[]
  /** what it must be, as the complaint says it */
  must: RegExp
}

const MAX = Number.MAX_SAFE_INTEGER
const NO_NUMBERS = ['-1', '1.5', '1e3', '0x10', 'abc', ' 7', '7 ', '+7', '٣', '5MB']
/** Over 2^53-1, where numbers begin to lie, and over everything. */
const HUGE = ['9007199254740992', '9007199254740993', '9'.repeat(400)]

/** As short as one may be. */
const SECRET = 's'.repeat(32)

const count = (key: keyof Config, unset: number): Row => ({
  key,
  unset,
  good: [
    ['1', 1],
    ['007', 7],
    [String(MAX), MAX],
  ],
  bad: ['0', ...NO_NUMBERS, ...HUGE],
  must: /number.*at least 1$/,
})

const VARIABLES: Record<string, Row> = {
  HOST: { key: 'host', unset: '127.0.0.1', good: [['::', '::']], bad: [], must: /address/ },
  PORT: {
    key: 'port',
    unset: 8000,
    good: [
      ['0', 0],
      ['65535', 65_535],
    ],
    bad: ['65536', ...NO_NUMBERS, ...HUGE],
    must: /port from 0 to 65535$/,
  },
  DATABASE_URL: {
    key: 'databaseUrl',
    unset: 'file:./data/uploads.db',
    good: [
      'file:/var/lib/a.db',
      'postgresql://ada:s%2Fecret@db.example:5432/uploads?sslmode=verify-full',
      'postgres://localhost/uploads',
      'postgresql:///uploads?host=/var/run/postgresql',
    ].map((url) => [url, url]),
    bad: [
      'mysql://localhost/uploads',
      './data/uploads.db',
      'file:',
      'a file:b',
      'postgresql://localhost',
      'postgresql://localhost/',
      'postgresql:uploads',
      'postgresql://a b/uploads',
      // A password whose characters are not encoded would be cut, and part of it shown.
      'postgresql://ada:1234/secret@db.example/uploads',
      'postgresql://ada:s#ecret@db.example/uploads',
      'postgresql://ada:s?ecret@db.example/uploads',
    ],
    must: /file:\.\/data\/uploads\.db.*postgresql:\/\//,
  },
  DATABASE_POOL_SIZE: {
    key: 'databasePoolSize',
    unset: 10,
    good: [
      ['1', 1],
      ['1000', 1000],
    ],
    bad: ['0', '1001', ...NO_NUMBERS, ...HUGE],
    must: /number from 1 to 1000$/,
  },
  DATABASE_STATEMENT_TIMEOUT_SECONDS: {
    key: 'databaseStatementTimeoutMs',
    unset: 10_000,
    good: [
      ['1', 1000],
      ['20', 20_000],
    ],
    bad: ['0', '21', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 1 to 20$/,
  },
  WEB_CONCURRENCY: {
    key: 'webConcurrency',
    unset: 1,
    good: [
      ['1', 1],
      ['128', 128],
    ],
    bad: ['0', '129', ...NO_NUMBERS, ...HUGE],
    must: /number from 1 to 128$/,
  },
  LEASES: {
    key: 'leases',
    unset: false,
    good: [
      ['auto', false],
      ['on', true],
      ['off', false],
    ],
    bad: ['ON', '1', 'true', 'yes'],
    must: /auto, on or off$/,
  },
  STORAGE_ROOT: {
    key: 'storage',
    unset: { backend: 'local', root: './data/files' },
    good: [['/mnt', { backend: 'local', root: '/mnt' }]],
    bad: [],
    must: /folder/,
  },
  DURABILITY: {
    key: 'durability',
    unset: 'process',
    good: [['disk', 'disk']],
    bad: ['Disk', 'none', 'fsync'],
    must: /process or disk$/,
  },
  MIN_FREE_DISK_BYTES: {
    key: 'minFreeDiskBytes',
    unset: 67_108_864,
    good: [
      ['0', 0],
      [String(MAX), MAX],
    ],
    bad: [...NO_NUMBERS, ...HUGE],
    must: /bytes; 0 for no limit$/,
  },
  API_KEY_MAPPINGS: {
    key: 'apiKeys',
    unset: new Map([['dev-key', 'dev-user']]),
    good: [
      ['k:ada', new Map([['k', 'ada']])],
      [
        ' k : ada , l : ada ,, m:bob,',
        new Map([
          ['k', 'ada'],
          ['l', 'ada'],
          ['m', 'bob'],
        ]),
      ],
    ],
    bad: ['k', 'k:', ':ada', 'k:ada:bob', 'k:ada,l', ',', ' '],
    must: /key:user pairs/,
  },
  AUTH_MODE: {
    key: 'authMode',
    unset: 'api_key',
    good: [['api_key', 'api_key']],
    bad: ['none', 'JWT', 'api_key,jwt'],
    must: /api_key, jwt or hybrid$/,
  },
  ADMIN_USER_IDS: {
    key: 'adminUserIds',
    unset: [],
    good: [
      ['ada', ['ada']],
      [' ada , bob,,', ['ada', 'bob']],
    ],
    bad: [],
    must: /users/,
  },
  API_RATE_LIMIT_PER_MINUTE: {
    key: 'apiRateLimitPerMinute',
    unset: 0,
    good: [
      ['0', 0],
      ['600', 600],
    ],
    bad: [...NO_NUMBERS, ...HUGE],
    must: /number; 0 is no limit$/,
  },
  AUTH_FAILURES_PER_MINUTE: {
    key: 'authFailuresPerMinute',
    unset: 30,
    good: [
      ['0', 0],
      ['10000', 10_000],
    ],
    bad: ['10001', ...NO_NUMBERS, ...HUGE],
    must: /number from 0, no limit, to 10000$/,
  },
  MAX_FAIR_INFLIGHT_CHUNKS_PER_UPLOAD: {
    key: 'maxFairInflightChunksPerUpload',
    unset: 0,
    good: [
      ['0', 0],
      ['3', 3],
    ],
    bad: [...NO_NUMBERS, ...HUGE],
    must: /number; 0 is half of the workers$/,
  },
  CHUNK_SIZE_BYTES: count('chunkSizeBytes', 5_242_880),
  MAX_UPLOAD_BYTES: count('maxUploadBytes', 50_000_000_000),
  MAX_BYTES_PER_USER: {
    key: 'maxBytesPerUser',
    unset: 0,
    good: [
      ['0', 0],
      ['9007199254740991', Number.MAX_SAFE_INTEGER],
    ],
    bad: [...NO_NUMBERS, ...HUGE],
    must: /bytes, or 0 for no limit$/,
  },
  MAX_INFLIGHT_CHUNKS_PER_UPLOAD: count('maxInflightChunksPerUpload', 8),
  MAX_GLOBAL_INFLIGHT_CHUNKS: count('maxGlobalInflightChunks', 128),
  TASK_QUEUE_MAXSIZE: count('taskQueueMaxsize', 512),
  WORKER_COUNT: count('workerCount', 16),
  MAX_CONCAT_PARTS: {
    key: 'maxConcatParts',
    unset: 1000,
    good: [
      ['1', 1],
      ['10000', 10_000],
    ],
    bad: ['0', '10001', ...NO_NUMBERS, ...HUGE],
    must: /number from 1 to 10000$/,
  },
  UPLOAD_TTL_SECONDS: {
    key: 'uploadTtlMs',
    unset: 86_400_000,
    good: [
      ['1', 1000],
      ['3153600000', 3_153_600_000_000],
    ],
    bad: ['0', '3153600001', ...NO_NUMBERS, ...HUGE],
    must: /seconds, at least 1$/,
  },
  FAST_LANE: {
    key: 'fastLane',
    unset: true,
    good: [
      ['0', false],
      ['1', true],
    ],
    bad: ['2', 'on'],
    must: /0 or 1$/,
  },
  FAST_LANE_MIN_BYTES: {
    key: 'fastLaneMinBytes',
    unset: 262_144,
    good: [['1', 1]],
    bad: ['0', ...NO_NUMBERS, ...HUGE],
    must: /bytes, at least 1$/,
  },
  IDEMPOTENCY_TTL_SECONDS: {
    key: 'idempotencyTtlMs',
    unset: 86_400_000,
    good: [
      ['1', 1000],
      ['3153600000', 3_153_600_000_000],
    ],
    bad: ['0', '3153600001', ...NO_NUMBERS, ...HUGE],
    must: /seconds, at least 1$/,
  },
  ADMISSION_WAIT_SECONDS: {
    key: 'admissionWaitMs',
    unset: 30_000,
    good: [
      ['0', 0],
      ['3600', 3_600_000],
    ],
    bad: ['3601', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 0 to 3600$/,
  },
  REAP_INTERVAL_SECONDS: {
    key: 'reapIntervalMs',
    unset: 60_000,
    good: [
      ['1', 1000],
      ['86400', 86_400_000],
    ],
    bad: ['0', '86401', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 1 to 86400$/,
  },
  HEADER_TIMEOUT_SECONDS: {
    key: 'headerTimeoutMs',
    unset: 30_000,
    good: [
      ['1', 1000],
      ['3600', 3_600_000],
    ],
    bad: ['0', '3601', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 1 to 3600$/,
  },
  BODY_IDLE_TIMEOUT_SECONDS: {
    key: 'bodyIdleTimeoutMs',
    unset: 60_000,
    good: [
      ['1', 1000],
      ['86400', 86_400_000],
    ],
    bad: ['0', '86401', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 1 to 86400$/,
  },
  SHUTDOWN_GRACE_SECONDS: {
    key: 'shutdownGraceMs',
    unset: 30_000,
    good: [
      ['0', 0],
      ['3600', 3_600_000],
    ],
    bad: ['3601', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 0 to 3600$/,
  },
  CORS_ALLOWED_ORIGINS: {
    key: 'corsAllowedOrigins',
    unset: [],
    good: [
      ['*', ['*']],
      ['https://a.example, http://localhost:5173,', ['https://a.example', 'http://localhost:5173']],
    ],
    bad: ['a.example', 'https://a.example/', 'https://a.example/path', 'ftp://a.example', 'null', '*,a'],
    must: /origins such as https:/,
  },
  PUBLIC_BASE_URL: {
    key: 'publicBaseUrl',
    unset: null,
    good: [
      ['https://up.example', 'https://up.example'],
      ['/', ''],
      ['https://up.example/behind/', 'https://up.example/behind'],
    ],
    bad: ['up.example', '/behind', 'ftp://up.example', 'https://'],
    must: /http\(s\) URL/,
  },
  TRUST_PROXY: {
    key: 'trustProxy',
    unset: false,
    good: [
      ['1', true],
      ['true', true],
      ['0', false],
      ['false', false],
    ],
    bad: ['yes', 'TRUE', '2'],
    must: /true or false$/,
  },
  LINK_KEYS: {
    key: 'linkKeys',
    unset: [],
    good: [
      [`a:${SECRET}`, [{ id: 'a', secret: SECRET }]],
      [
        ` new-1:${SECRET} , old_1:x:${SECRET},`,
        [
          { id: 'new-1', secret: SECRET },
          { id: 'old_1', secret: `x:${SECRET}` },
        ],
      ],
      [`a:${'ü'.repeat(16)}`, [{ id: 'a', secret: 'ü'.repeat(16) }]],
    ],
    bad: [
      SECRET,
      `:${SECRET}`,
      `a.b:${SECRET}`,
      `${'a'.repeat(33)}:${SECRET}`,
      `a:${SECRET.slice(1)}`,
      `a:${SECRET},b`,
      `a:${SECRET},a:x${SECRET}`,
    ],
    must: /id:secret pairs.*32 bytes or more$/,
  },
  LINK_DEFAULT_SECONDS: {
    key: 'linkDefaultSeconds',
    unset: 3600,
    good: [
      ['1', 1],
      ['604800', 604_800],
    ],
    bad: ['0', '315360001', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 1 to 315360000$/,
  },
  LINK_MAX_SECONDS: {
    key: 'linkMaxSeconds',
    unset: 604_800,
    good: [
      ['1', 1],
      ['315360000', 315_360_000],
    ],
    bad: ['0', '315360001', ...NO_NUMBERS, ...HUGE],
    must: /seconds from 1 to 315360000$/,
  },
  METRICS_TOKEN: { key: 'metricsToken', unset: null, good: [['secret', 'secret']], bad: [], must: /token/ },
  LOG_LEVEL: {
    key: 'logLevel',
    unset: 'info',
    good: [
      ['silent', 'silent'],
      ['trace', 'trace'],
    ],
    bad: ['verbose', 'INFO', 'info '],
    must: /fatal.*silent$/,
  },
  AUDIT_LOG: {
    key: 'auditLog',
    unset: false,
    good: [
      ['on', true],
      ['off', false],
    ],
    bad: ['1', 'true', 'ON', './audit.log'],
    must: /on or off$/,
  },
  OTEL_EXPORTER_OTLP_ENDPOINT: {
    key: 'tracing',
    unset: null,
    good: [['http://localhost:4318', { protocol: 'http/protobuf' }]],
    bad: ['localhost:4318', 'grpc://localhost:4317'],
    must: /http\(s\) URL of a collector/,
  },
}

const rows = Object.entries(VARIABLES)
const unsetKeys = rows.map(([, { key }]) => key)
const refusing = rows.filter(([, { bad }]) => bad.length > 0)

describe('a variable', () => {
  it.each(rows)('%s has its default when it is not set, and when it is empty', (name, { key, unset }) => {
    expect(parseConfig({})[key]).toEqual(unset)
    expect(parseConfig({ [name]: '' })[key]).toEqual(unset)
    expect(parseConfig({ [name]: undefined })[key]).toEqual(unset)
  })

  it.each(rows)('%s takes what it may be', (name, { key, good }) => {
    expect(good.map(([text]) => [text, parseConfig({ [name]: text })[key]])).toEqual(good)
  })

  it.each(refusing)(
    '%s stops the start with one line that names it and says what it must be',
    (name, row) => {
      const named = expect.stringMatching(new RegExp(`^${name} must be `))
      const told = row.bad.map((text) => [text, complaints({ [name]: text })])
      expect(told).toEqual(row.bad.map((text) => [text, [named]]))
      expect(told).toEqual(row.bad.map((text) => [text, [expect.stringMatching(row.must)]]))
    },
  )

  it('that nobody knows is left alone', () => {
    expect(parseConfig({ PORTS: 'x', PATH: '/bin' })).toEqual(parseConfig({}))
  })
})

it('every variable of the configuration is in this table', () => {
  const keys = Object.keys(parseConfig({}))
  const derived = ['developmentKeys', 'jwt', 'webhooks']
  expect(keys.filter((key) => !derived.includes(key)).toSorted()).toEqual([...unsetKeys].toSorted())
})

it('PostgreSQL, which several processes may use, goes with leases and not without', () => {
  const DATABASE_URL = 'postgresql://user:secret@db/uploads'
  for (const LEASES of [undefined, 'auto', 'on'])
    expect(parseConfig({ DATABASE_URL, LEASES })).toMatchObject({ leases: true })
  expect(complaint({ DATABASE_URL, LEASES: 'off' })).toMatch(/^LEASES must be auto or on with PostgreSQL/)
})

it('several bad values are told at once, a line each, and the good ones are not', () => {
  const lines = complaints({
    PORT: 'x',
    WORKER_COUNT: '0',
    LOG_LEVEL: 'loud',
    HOST: '::',
    CHUNK_SIZE_BYTES: '7',
  })
  expect(new Set(lines.map((line) => line.split(' ')[0]))).toEqual(
    new Set(['LOG_LEVEL', 'PORT', 'WORKER_COUNT']),
  )
  expect(lines).toHaveLength(3)
})

it('a complaint never shows the value, which may be a secret', () => {
  const secret = 'hunter2'
  const line = complaint({ API_KEY_MAPPINGS: secret })
  expect(line).not.toContain(secret)
  expect(complaint({ LINK_KEYS: `a:${secret}` })).not.toContain(secret)
  for (const url of [`mysql://root:${secret}@db/a`, `postgresql://root:${secret}/@db/a`])
    expect(complaint({ DATABASE_URL: url })).not.toContain(secret)
})

it('no link is good for longer by default than it may be', () => {
  expect(parseConfig({ LINK_MAX_SECONDS: '60' })).toMatchObject({
    linkDefaultSeconds: 60,
    linkMaxSeconds: 60,
  })
})

describe('API keys', () => {
  it('are the well-known ones only while none are given', () => {
    expect(parseConfig({}).developmentKeys).toBe(true)
    expect(parseConfig({ API_KEY_MAPPINGS: '' }).developmentKeys).toBe(true)
    expect(parseConfig({ API_KEY_MAPPINGS: 'k:ada' }).developmentKeys).toBe(false)
  })

  it.each([undefined, ''])('must be given in production: %j refuses to start', (keys) => {
    expect(complaint({ NODE_ENV: 'production', API_KEY_MAPPINGS: keys })).toMatch(
      /^API_KEY_MAPPINGS must be set/,
    )
  })

  it('that are missing in production are told beside the other mistakes', () => {
    const lines = complaints({ NODE_ENV: 'production', PORT: 'x' })
    expect(lines).toHaveLength(2)
    expect(lines.join()).toMatch(/PORT.*API_KEY_MAPPINGS/)
  })

  it.each(['production', 'development', 'test', ''])('that are given start with NODE_ENV "%s"', (mode) => {
    expect(complaints({ NODE_ENV: mode, API_KEY_MAPPINGS: 'k:ada' })).toEqual([])
  })
})

describe('STALE_UPLOAD_TTL_SECONDS', () => {
  it('is taken for UPLOAD_TTL_SECONDS', () => {
    expect(parseConfig({ STALE_UPLOAD_TTL_SECONDS: '60' }).uploadTtlMs).toBe(60_000)
    expect(parseConfig({ STALE_UPLOAD_TTL_SECONDS: '60', UPLOAD_TTL_SECONDS: '' }).uploadTtlMs).toBe(60_000)
    expect(parseConfig({ STALE_UPLOAD_TTL_SECONDS: '' }).uploadTtlMs).toBe(86_400_000)
  })

  it('gives way to UPLOAD_TTL_SECONDS', () => {
    expect(parseConfig({ STALE_UPLOAD_TTL_SECONDS: '60', UPLOAD_TTL_SECONDS: '5' }).uploadTtlMs).toBe(5000)
  })

  it.each(['0', 'soon'])('is refused as %s', (text) => {
    expect(complaint({ STALE_UPLOAD_TTL_SECONDS: text })).toContain('STALE_UPLOAD_TTL_SECONDS must be ')
  })
})

it('the configuration cannot be changed afterwards', () => {
  const config = parseConfig({}) as { port: number }
  expect(() => (config.port = 1)).toThrow(TypeError)
})
