import { afterAll, beforeAll, describe } from 'vitest'
import { engineFor, openS3, type Wanted } from '../support/s3/endpoint.ts'
import { completesUploads } from './s3-complete.ts'
import { departures, DIFFERENCES } from './s3-differences.ts'
import type { Fixture } from './s3-fixture.ts'
import { checksBodies } from './s3-integrity.ts'
import { listsKeys } from './s3-lists.ts'
import { takesParts } from './s3-multipart.ts'
import { keepsObjects } from './s3-objects.ts'
import { checksSignatures } from './s3-signatures.ts'

/** What an S3 engine does, as far as the server leans on it; the emulator has to do the same. */
export function engineContract(wanted: Wanted = {}): void {
  const engine = engineFor(wanted)
  describe(`S3 as ${engine}`, () => {
    let fixture: Fixture
    beforeAll(async () => {
      const s3 = await openS3(wanted)
      console.log(
        `S3 tests against ${engine} at ${s3.url ?? s3.region}; it departs from S3 ${departures(engine)}`,
      )
      fixture = { s3, differences: DIFFERENCES[engine] }
    })
    afterAll(() => fixture?.s3.close())

    const current = () => fixture
    describe('objects', () => keepsObjects(current))
    describe('lists', () => listsKeys(current))
    describe('parts', () => takesParts(current))
    describe('completion', () => completesUploads(current))
    describe('integrity', () => checksBodies(current))
    describe('signatures', () => checksSignatures(current))
  })
}
