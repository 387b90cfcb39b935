import type { Config } from '../../config/config.ts'
import type { StorageNotes } from '../../core/ports/ledger.ts'
import { createMetrics } from '../../observe/metrics.ts'
import { openStore } from '../../process/storage.ts'
import { failed, ok, wordsOf } from './finding.ts'

/** Asks the bucket what the server asks it for /ready. Nothing is written to it. */
export async function bucketCheck(config: Config) {
  const { storage } = config
  const name = storage.backend === 'local' ? storage.root : storage.bucket
  try {
    const store = await openStore(config, {} as StorageNotes, createMetrics().meter)
    await store.check()
    return ok(`${name} answers`)
  } catch (error) {
    const cause = error instanceof Error && error.cause !== undefined ? error.cause : error
    return failed(
      `${name}: ${wordsOf(cause)}`,
      'Check the name of the bucket, its region and endpoint, and what the credentials may do.',
    )
  }
}
