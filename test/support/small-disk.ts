import { execFileSync } from 'node:child_process'
import { onTestFinished, type TestContext } from 'vitest'
import { useFolder } from './folder.ts'

/** A file system of its own that is soon full, and goes away with the running test. Only root may mount one. */
export async function useSmallDisk({ skip }: Pick<TestContext, 'skip'>, size: string): Promise<string> {
  const folder = await useFolder()
  try {
    mount('-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder)
  } catch (error) {
    skip(`a small disk could not be mounted: ${(error as Error).message.trim()}`)
  }
  onTestFinished(() => unmount(folder))
  return folder
}

export const mount = (...args: string[]): void => void execFileSync('mount', args, { stdio: 'pipe' })

/** At once, whatever is open on it. */
export const unmount = (folder: string): void => void execFileSync('umount', ['--lazy', folder])
