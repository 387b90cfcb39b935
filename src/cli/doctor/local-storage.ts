import { access, constants, stat, statfs } from 'node:fs/promises'
import path from 'node:path'
import type { Config } from '../../config/config.ts'
import { providerOf, sqlitePath } from '../../ledger/url.ts'
import { bytesWords } from '../terminal/words.ts'
import { failed, ok, skipped, warning, type Check } from './finding.ts'
import { bucketCheck } from './local-bucket.ts'

export function storageChecks(config: Config): Check[] {
  const { storage } = config
  if (storage.backend !== 'local') return [['bucket', () => bucketCheck(config)]]
  return [
    ['storage', () => judgeFolder(storage.root, 'STORAGE_ROOT')],
    ['room', () => judgeRoom(storage.root, config.minFreeDiskBytes)],
    ['disks', () => judgeDisks(storage.root, config.databaseUrl)],
  ]
}

/** It need not be there yet: the server makes it. Nothing is made here. */
export async function judgeFolder(folder: string, variable: string) {
  const place = await nearest(folder)
  const { isDirectory } = await kindOf(place)
  if (!isDirectory) return failed(`${place} is no folder`, `Set ${variable} to a folder.`)
  try {
    await access(place, constants.R_OK | constants.W_OK | constants.X_OK)
  } catch {
    return failed(
      `${place} can't be written to`,
      `Give it to the user of the server (chown), or set ${variable}.`,
    )
  }
  return ok(place === path.resolve(folder) ? `${place} can be written to` : `will be made in ${place}`)
}

async function judgeRoom(root: string, least: number) {
  const { bavail, bsize } = await statfs(await nearest(root))
  const free = bavail * bsize
  const found = `${bytesWords(free)} free`
  if (free <= least) return failed(found, 'No upload is taken: make room, or lower MIN_FREE_DISK_BYTES.')
  return free < least + 1e9 ? warning(found, 'Make room: new uploads are refused soon.') : ok(found)
}

/** A full disk is survived either way; on two, one of them fills up without the other. */
async function judgeDisks(root: string, databaseUrl: string) {
  if (providerOf(databaseUrl) !== 'sqlite') return skipped('the database is on a server')
  const [files, database] = await Promise.all(
    [root, path.dirname(sqlitePath(databaseUrl))].map(
      async (folder) => (await stat(await nearest(folder))).dev,
    ),
  )
  return ok(files === database ? 'files and database share one disk' : 'files and database are on two disks')
}

const kindOf = async (place: string) => ({ isDirectory: (await stat(place)).isDirectory() })

/** The folder itself, or the nearest one above it that is there. */
async function nearest(folder: string): Promise<string> {
  let place = path.resolve(folder)
  for (;;) {
    try {
      await stat(place)
      return place
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code !== 'ENOENT' || path.dirname(place) === place) throw error
      place = path.dirname(place)
    }
  }
}
