import { parseArgs } from 'node:util'

/** How many files are under way at once, and how many chunks of each. */
export const PROFILES = {
  fast: { concurrentFiles: 2, chunkWorkers: 2 },
  balanced: { concurrentFiles: 4, chunkWorkers: 4 },
  'max-throughput': { concurrentFiles: 8, chunkWorkers: 8 },
} as const

type Profile = keyof typeof PROFILES

export interface Options {
  baseUrl: string
  apiKey: string
  dialect: 'native' | 'tus'
  profile: Profile
  files: number
  fileSizeBytes: number
  chunkSizeBytes: number
  concurrentFiles: number
  /** chunks of one file at once; always 1 with tus, whose PATCHes follow each other */
  chunkWorkers: number
  maxRetries: number
  chunkSha256: boolean
  verify: boolean
  /** where the JSON goes: a file, standard output or nowhere */
  output: string | null
  json: boolean
}

export type Parsed = { options: Options } | { help: string } | { problem: string }

const FLAGS = {
  'base-url': { type: 'string', default: 'http://127.0.0.1:8000' },
  'api-key': { type: 'string', default: 'dev-key' },
  dialect: { type: 'string', default: 'native' },
  profile: { type: 'string', default: 'balanced' },
  files: { type: 'string', default: '10' },
  'file-size-bytes': { type: 'string', default: '5242880' },
  'chunk-size-bytes': { type: 'string', default: '1048576' },
  'concurrent-files': { type: 'string' },
  'per-file-chunk-workers': { type: 'string' },
  'max-retries': { type: 'string', default: '5' },
  'chunk-sha256': { type: 'boolean', default: false },
  verify: { type: 'boolean', default: false },
  output: { type: 'string' },
  json: { type: 'boolean', default: false },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const HELP = `Uploads generated files to a running server and measures.

  npm run load-test -- [options]

  --base-url URL              the server (${FLAGS['base-url'].default})
  --api-key KEY               sent as X-API-Key (${FLAGS['api-key'].default})
  --dialect native|tus        the chunk API, or tus 1.0 (${FLAGS.dialect.default})
  --files N                   how many files (${FLAGS.files.default})
  --file-size-bytes N         of every file (${FLAGS['file-size-bytes'].default})
  --chunk-size-bytes N        of a chunk, or of a PATCH (${FLAGS['chunk-size-bytes'].default})
  --profile NAME              files at once × chunks of each at once (${FLAGS.profile.default}):
${Object.entries(PROFILES)
  .map(
    ([name, { concurrentFiles, chunkWorkers }]) =>
      `${' '.repeat(32)}${name}: ${concurrentFiles} × ${chunkWorkers}`,
  )
  .join('\n')}
  --concurrent-files N        in place of the profile's number
  --per-file-chunk-workers N  in place of the profile's number; tus sends one PATCH of a file at a time
  --max-retries N             of one request after a failure that may pass (${FLAGS['max-retries'].default})
  --chunk-sha256              send X-Chunk-SHA256 with every chunk (native)
  --verify                    download every file afterwards and compare; not part of the measured time
  --output FILE               write the result as JSON
  --json                      print the result as JSON on standard output, the summary on standard error
  -h, --help                  this text

Exit status: 0 all files are there, 1 a file failed, 2 the command line is wrong.
Units: MB is 10^6 bytes. A chunk's latency is that of the request that was answered with success; waiting
after a refusal counts in a file's total. A 429 or 503 is waited out for as long as its Retry-After says
and counts as throttled; a broken connection or another passing failure counts as a retry.`

/** The command line as options. Flags win over the profile. */
export function parseOptions(args: readonly string[]): Parsed {
  try {
    const { values } = parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false })
    if (values.help) return { help: HELP }
    const profile = oneOf('profile', values.profile, Object.keys(PROFILES) as Profile[])
    const dialect = oneOf('dialect', values.dialect, ['native', 'tus'])
    const workers = count('per-file-chunk-workers', values['per-file-chunk-workers'], 1, 1000)
    const options: Options = {
      baseUrl: url('base-url', values['base-url']),
      apiKey: values['api-key'],
      dialect,
      profile,
      files: count('files', values.files, 1, 1_000_000),
      fileSizeBytes: count('file-size-bytes', values['file-size-bytes'], 0, Number.MAX_SAFE_INTEGER),
      // a chunk is held in memory
      chunkSizeBytes: count('chunk-size-bytes', values['chunk-size-bytes'], 1, 2 ** 30),
      concurrentFiles:
        count('concurrent-files', values['concurrent-files'], 1, 10_000) ?? PROFILES[profile].concurrentFiles,
      chunkWorkers: dialect === 'tus' ? 1 : (workers ?? PROFILES[profile].chunkWorkers),
      maxRetries: count('max-retries', values['max-retries'], 0, 1000),
      chunkSha256: values['chunk-sha256'],
      verify: values.verify,
      output: values.output ?? null,
      json: values.json,
    }
    return { options }
  } catch (error) {
    return { problem: (error as Error).message }
  }
}

function count(flag: string, text: string, least: number, most: number): number
function count(flag: string, text: string | undefined, least: number, most: number): number | undefined
function count(flag: string, text: string | undefined, least: number, most: number): number | undefined {
  if (text === undefined) return undefined
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (!(value >= least && value <= most))
    throw new Error(`--${flag}: "${text}" is not a whole number from ${least} to ${most}`)
  return value
}

function oneOf<T extends string>(flag: string, text: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === text)
  if (found === undefined) throw new Error(`--${flag}: "${text}" is none of ${allowed.join(', ')}`)
  return found
}

function url(flag: string, text: string): string {
  const parsed = URL.canParse(text) ? new URL(text) : null
  if (!parsed || !/^https?:$/.test(parsed.protocol))
    throw new Error(`--${flag}: "${text}" is not an http:// or https:// URL`)
  return parsed.origin + parsed.pathname.replace(/\/+$/, '')
}
