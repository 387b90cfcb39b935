import type { Tally } from '../load-test/tally.ts'
import type { Harm } from './chaos.ts'
import type { Disk } from './disk.ts'
import type { Options } from './options.ts'
import type { Work } from './workload.ts'

const MIB = 1024 * 1024

export const progressLine = ({ files, lost }: Work, harm: Harm, started: number): string => {
  const count = Object.values(files).reduce((sum, some) => sum + some, 0)
  const seconds = Math.round((performance.now() - started) / 1000)
  return `${seconds} s  ${count} files  ${harm.kills} kills  ${harm.shutdowns} shutdowns  ${harm.fullDisks} full disks  ${lost.length} lost`
}

export interface Report {
  options: Options
  disk: Disk
  work: Work
  harm: Harm
  tally: Tally
  noRoom: number
  cuts: number
}

export function tableOf({ options, disk, work, harm, tally, noRoom, cuts }: Report): string {
  const rows: [string, string | number][] = [
    ['minutes', options.minutes],
    ['seed', options.seed],
    ['files by chunks', work.files.native],
    ['files by tus', work.files.tus],
    ['files by both', work.files.crossing],
    ['MiB', Math.round(tally.bytes / MIB)],
    ['retries', tally.retries],
    ['answers 429 and 503', tally.throttled],
    ['answers 507', noRoom],
    ['kill -9', harm.kills],
    ['SIGTERM', harm.shutdowns],
    ['networks cut', harm.cuts],
    ['networks silent', harm.silences],
    ['connections cut', cuts],
    ['disks filled up', disk.unfillable === null ? harm.fullDisks : 'none'],
    ['files verified', work.verified],
    ['files deleted', work.deleted],
  ]
  return ['', ...rows.map(([what, count]) => `${what.padEnd(22)}${count}`)].join('\n')
}
