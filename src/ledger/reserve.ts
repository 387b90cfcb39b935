import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { rename, rm, stat, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'

/** Room on the disk of a database, kept for the time when there is no other. */
export interface Reserve {
  /** Gives the room free, and takes it again once there is some. @returns false when there is none to give */
  release(): boolean
  /** Whether the room is given free and not taken again: whatever else is written then takes it away. */
  isOut(): boolean
  /** Takes the room, unless it is taken or there is none. */
  take(): Promise<void>
  /** Takes none any more. */
  close(): Promise<void>
}

/** The log of the largest deletion, of 10,000 chunks, takes half of it. */
const MOST_BYTES = 8 * 1024 * 1024
/** A small disk is there for more than this. */
const MOST_OF_DISK = 1 / 32
const AGAIN_MS = 5_000

/** Beside the file of the database, and on its disk. */
export const reserveOf = (database: string): string => `${database}-reserve`

export function keepReserve(file: string): Reserve {
  const unfinished = `${file}.tmp`
  let out = false
  let taking: Promise<void> | null = null
  let again: NodeJS.Timeout | undefined
  let closed = false

  const takeLater = () => {
    clearTimeout(again)
    if (!closed) again = setTimeout(() => void reserve.take(), AGAIN_MS).unref()
  }

  async function tryToTake(): Promise<void> {
    try {
      const there = await stat(file).catch(() => null)
      if (!there) {
        const { blocks, bsize } = await statfs(path.dirname(file))
        const bytes = Math.min(MOST_BYTES, Math.floor(blocks * bsize * MOST_OF_DISK))
        // At random: a file system that compresses would keep room for nothing.
        await writeFile(unfinished, randomBytes(bytes), { mode: 0o600 })
        await rename(unfinished, file)
      }
      out = false
    } catch {
      await rm(unfinished, { force: true }).catch(() => {})
      takeLater()
    }
  }

  const reserve: Reserve = {
    release() {
      try {
        rmSync(file)
      } catch {
        return false
      }
      out = true
      takeLater()
      return true
    },
    isOut: () => out,
    async take() {
      if (closed) return
      taking ??= tryToTake().finally(() => (taking = null))
      await taking
    },
    async close() {
      closed = true
      clearTimeout(again)
      await taking
    },
  }
  return reserve
}
