import { execFileSync } from 'node:child_process'
import { appendFile, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** Where the server keeps everything. */
export interface Disk {
  readonly folder: string
  /** null where it is a disk of its own that may be filled up; else why not */
  readonly unfillable: string | null
  /** Takes every byte that is left. */
  fill(): Promise<void>
  /** Gives back what `fill` took. */
  empty(): Promise<void>
  remove(): Promise<void>
}

/** A RAM disk of that size where the caller may mount one, else a folder. */
export async function makeDisk(bytes: number): Promise<Disk> {
  const folder = await mkdtemp(path.join(tmpdir(), 'soak-'))
  const unfillable = mount(folder, bytes)
  const filler = path.join(folder, 'filler')
  return {
    folder,
    unfillable,
    async fill() {
      for (const size of [4 * 1024 * 1024, 4096])
        for (let room = true; room;)
          room = await appendFile(filler, Buffer.alloc(size, 1)).then(
            () => true,
            () => false,
          )
    },
    empty: () => rm(filler, { force: true }),
    async remove() {
      if (unfillable === null) execFileSync('umount', ['--lazy', folder])
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function mount(folder: string, bytes: number): string | null {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', folder], { stdio: 'pipe' })
    return null
  } catch (error) {
    return `no RAM disk could be mounted: ${(error as Error).message.trim().split('\n')[0]}`
  }
}
