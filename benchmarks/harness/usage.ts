import { readFileSync } from 'node:fs'

/** Clock ticks a second: fixed on Linux for what /proc tells. */
const TICKS_PER_SECOND = 100

/** CPU seconds, user and system, that a process has used so far, all its threads and ended children included. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may hold anything, so count from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0)
  return ticks / TICKS_PER_SECOND
}

/** The most memory that a process has had resident, in MiB. */
export function peakRssMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024
}
