import path from 'node:path'
import type { Config } from '../config/config.ts'
import type { StorageNotes } from '../core/ports/ledger.ts'
import type { Meter } from '../core/ports/meter.ts'
import type { ChunkStore } from '../core/ports/store.ts'
import { providerOf, sqlitePath } from '../ledger/url.ts'
import { forceAncestors } from '../stores/durable.ts'
import { createLocalStore } from '../stores/local.ts'

/** @param outgoing headers for requests to a bucket, by which it goes on with a trace */
export async function openStore(
  config: Config,
  notes: StorageNotes,
  meter: Meter,
  outgoing?: () => Record<string, string>,
): Promise<ChunkStore> {
  const { storage } = config
  if (storage.backend === 'local') return createLocalStore(storage.root, config)
  // The SDK takes memory and time to load: those who store on the disk are spared it.
  const { createS3Store } = await import('../stores/s3/store.ts')
  return createS3Store({ ...storage, name: storage.backend }, { notes, meter, ...(outgoing && { outgoing }) })
}

/** SQLite forces the folder of its file, the store those in its root; the rest of the way is up to us. */
export async function forceFolders({ storage, databaseUrl }: Config): Promise<void> {
  if (storage.backend === 'local') await forceAncestors(storage.root)
  if (providerOf(databaseUrl) === 'sqlite') await forceAncestors(path.dirname(sqlitePath(databaseUrl)))
}
