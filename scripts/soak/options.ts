import { parseArgs } from 'node:util'

export interface Options {
  minutes: number
  seed: number
  /** uploads at a time */
  files: number
  /** of the disk that is filled up now and then */
  diskBytes: number
}

const FLAGS = {
  minutes: { type: 'string', default: '10' },
  seed: { type: 'string', default: '1' },
  files: { type: 'string', default: '6' },
  'disk-mib': { type: 'string', default: '384' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const HELP = `Uploads for a while, by every dialect, to a server that is killed, shut down, cut off and left without
room on its disk, and looks in the end whether anything that was acknowledged is missing or wrong.

  npm run soak -- [options]

  --minutes N     how long files are begun (${FLAGS.minutes.default})
  --seed N        of what happens when; the network and the machine do the rest (${FLAGS.seed.default})
  --files N       uploads at a time (${FLAGS.files.default})
  --disk-mib N    of the RAM disk that is filled up now and then; only where the caller is root (${FLAGS['disk-mib'].default})
  -h, --help      this text

Exit status: 0 nothing was lost, 1 something was, 2 the command line is wrong.`

export type Parsed = { options: Options } | { help: string } | { problem: string }

export function parseOptions(args: readonly string[]): Parsed {
  try {
    const { values } = parseArgs({ args: [...args], options: FLAGS, strict: true, allowPositionals: false })
    if (values.help) return { help: HELP }
    const minutes = Number(values.minutes)
    if (!(minutes > 0)) throw new Error(`--minutes: "${values.minutes}" is not a number over 0`)
    return {
      options: {
        minutes,
        seed: whole('seed', values.seed, 0),
        files: whole('files', values.files, 1),
        diskBytes: whole('disk-mib', values['disk-mib'], 128) * 1024 * 1024,
      },
    }
  } catch (error) {
    return { problem: (error as Error).message }
  }
}

function whole(flag: string, text: string, least: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : NaN
  if (!(value >= least && value <= 1e9))
    throw new Error(`--${flag}: "${text}" is not a whole number from ${least} to 10^9`)
  return value
}
