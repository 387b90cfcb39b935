import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** The ids of the processes that a process has started and that still run. */
export function childrenOf(pid: number): number[] {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid=,stat='], { encoding: 'utf8' }).split('\n')
  return lines
    .map((line) => line.trim().split(/\s+/))
    .filter(([, parent, state]) => Number(parent) === pid && !state?.startsWith('Z'))
    .map(([child]) => Number(child))
    .filter((child) => commandOf(child).includes('main.'))
}

/** Whether it runs; one that has ended and waits for its parent does not. */
export const isRunning = (pid: number): boolean => commandOf(pid) !== ''

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8')
  } catch {
    return ''
  }
}
