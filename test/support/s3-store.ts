import type { StorageNotes } from '../../src/core/ports/ledger.ts'
import type { ChunkStore } from '../../src/core/ports/store.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { createS3Store, type S3Options } from '../../src/stores/s3/store.ts'
import type { S3Endpoint } from './s3/endpoint.ts'

/** The options of a store on the bucket of an endpoint, as an operator would give them. */
export function optionsFor(
  { url, region, bucket, prefix, credentials }: Omit<S3Endpoint, 'engine'>,
  change: Partial<S3Options> = {},
): S3Options {
  return {
    name: 's3',
    bucket,
    region,
    endpoint: url,
    credentials,
    forcePathStyle: url !== null,
    keyPrefix: prefix,
    encryption: null,
    storageClass: null,
    partBufferBytes: 128 * 1024 * 1024,
    maxRetries: 3,
    presignedSeconds: null,
    ...change,
  }
}

/** The store on an endpoint, which does not pause between tries. */
export const s3StoreOn = (
  endpoint: S3Endpoint,
  notes: StorageNotes,
  change: Partial<S3Options> = {},
): ChunkStore =>
  createS3Store(optionsFor(endpoint, change), {
    notes,
    meter: createMetrics().meter,
    pauses: { sleep: async () => {} },
  })
