import { expect } from 'vitest'
import { parseConfig, type Config } from '../../src/config/config.ts'
import { VARIABLES } from '../../src/config/variables.ts'

/** The config that a server makes of these; fails on a variable that it does not know. */
export function settingsOf(env: Record<string, string>): Config {
  const known = [...Object.keys(VARIABLES), 'NODE_ENV']
  for (const name of Object.keys(env)) expect(known, `${name} is a variable`).toContain(name)
  return parseConfig(env)
}

/** `NAME=value` lines, without comments. */
export const linesOf = (text: string): Record<string, string> =>
  Object.fromEntries(
    [...text.matchAll(/^([A-Z][A-Z0-9_]*)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value]),
  )

/** `40s`, in milliseconds. */
export const msOf = (duration: string): number => {
  const [, seconds] = /^(\d+)s$/.exec(duration) ?? []
  if (seconds === undefined) throw new Error(`not a number of seconds: ${duration}`)
  return Number(seconds) * 1000
}

/** What a process may need beyond its grace before it has ended itself; see main.ts. */
export const ENDING_MS = 5_000

/** A version, and not whatever is the newest. */
export const isPinned = (image: string): boolean => /:v?\d+(\.\d+)+[\w.-]*$/.test(image)
