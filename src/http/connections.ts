import { readFileSync } from 'node:fs'

/** Handles of the process that are neither a client's nor of a file that it reads or writes: of the database, of Node, of files that stay open. */
const OWN_HANDLES = 96

/**
 * How many connections there may be at a time so that each can have a file open as well; infinitely many
 * where the system does not tell. Beyond its last handle Node would neither take a connection nor refuse it,
 * try again without a pause, and open no file.
 */
export function mostConnections(limits = '/proc/self/limits'): number {
  let text: string
  try {
    text = readFileSync(limits, 'utf8')
  } catch {
    return Infinity
  }
  const handles = Number(/^Max open files +(\d+)/m.exec(text)?.[1] ?? Infinity)
  return Math.max(1, Math.floor((handles - OWN_HANDLES) / 2))
}
