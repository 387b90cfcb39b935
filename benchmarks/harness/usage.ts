import { readdirSync, readFileSync } from 'node:fs'

/** Clock ticks a second: fixed on Linux for what /proc tells. */
const TICKS_PER_SECOND = 100

/** A process and all that it has started, those that they have started as well. */
export function treeOf(pid: number): number[] {
  const tree = [pid]
  for (const parent of tree)
    for (const thread of readdirSync(`/proc/${parent}/task`))
      tree.push(
        ...readFileSync(`/proc/${parent}/task/${thread}/children`, 'utf8')
          .split(' ')
          .filter(Boolean)
          .map(Number),
      )
  return tree
}

/**
 * CPU seconds, user and system, that a process has used so far, all its threads and children included, whether
 * they have ended or run.
 */
export const cpuSeconds = (pid: number): number => sumOf(treeOf(pid), ownCpuSeconds)

/** The most memory that a process and its children have had resident, in MiB; each at its own time. */
export const peakRssMib = (pid: number): number => sumOf(treeOf(pid), ownPeakRssMib)

const sumOf = (pids: readonly number[], of: (pid: number) => number): number =>
  pids.reduce((sum, pid) => sum + of(pid), 0)

function ownCpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in parentheses may hold anything, so count from behind it.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const ticks = [11, 12, 13, 14].reduce((sum, field) => sum + Number(fields[field]), 0)
  return ticks / TICKS_PER_SECOND
}

function ownPeakRssMib(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024
}
