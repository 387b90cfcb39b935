import type { Readable, Writable } from 'node:stream'

export type Env = Readonly<Record<string, string | undefined>>

/** What a command has to do with the world outside. */
export interface Terminal {
  env: Env
  stdin: Readable & { isTTY?: boolean }
  stdout: Writable & { isTTY?: boolean }
  stderr: Writable & { isTTY?: boolean; columns?: number }
  /** aborted with a Failure when the person, or the system, wants it to end */
  signal: AbortSignal
  version: string
}

export type Paint = (style: 'green' | 'yellow' | 'red' | 'dim' | 'bold', text: string) => string

const CODES = { green: [32, 39], yellow: [33, 39], red: [31, 39], dim: [2, 22], bold: [1, 22] } as const

/** Colours on a terminal, unless NO_COLOR is there (https://no-color.org). */
export function painter({ env, stdout }: Pick<Terminal, 'env' | 'stdout'>): Paint {
  const colours = stdout.isTTY === true && !env['NO_COLOR'] && env['TERM'] !== 'dumb'
  return (style, text) => {
    const [on, off] = CODES[style]
    return colours ? `\x1b[${on}m${text}\x1b[${off}m` : text
  }
}
