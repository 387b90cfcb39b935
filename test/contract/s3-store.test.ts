import { openS3, type S3Endpoint } from '../support/s3/endpoint.ts'
import { s3StoreOn } from '../support/s3-store.ts'
import type { KeptNotes } from '../support/storage-notes.ts'
import { s3StoreContract } from './s3-store.ts'
import { storeContract, type StoreFixture } from './store.ts'

function fixtureOn(endpoint: S3Endpoint, notes: KeptNotes): StoreFixture {
  const { client, bucket, emulator } = endpoint
  const lose = async () => {
    for (const { key } of emulator?.objects() ?? []) await client.deleteObject({ Bucket: bucket, Key: key })
    await client.deleteBucket({ Bucket: bucket })
  }
  return { store: s3StoreOn(endpoint, notes), lose: emulator && lose, close: () => endpoint.close() }
}

for (const [name, r2] of [
  ['S3', false],
  ['R2', true],
] as const) {
  storeContract(name, async (notes) => fixtureOn(await openS3({ r2 }), notes))
  s3StoreContract(name, () => openS3({ r2 }))
}
