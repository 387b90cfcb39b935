import { existsSync, readFileSync } from 'node:fs'
import { readdir, readlink } from 'node:fs/promises'
import type { TestContext } from 'vitest'

/** Skips a test that looks into another process, where there is no /proc. */
export function needsProc({ skip }: Pick<TestContext, 'skip'>): void {
  if (!existsSync('/proc/self/status')) skip('there is no /proc to look into the process')
}

/** Resident bytes of a process. */
export const memoryOf = (pid: number | undefined): number =>
  Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

/** What a process has open: the paths of files, and names of the other things. */
export async function openFilesOf(pid: number | undefined): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  // What is closed since the folder was read has no name any more.
  return Promise.all((await readdir(folder)).map((fd) => readlink(`${folder}/${fd}`).catch(() => '')))
}
