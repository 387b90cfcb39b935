import { DataStore, type Upload as TusUpload } from '@tus/server'
import { describeFile } from '../core/tus.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import type { Exchange } from './exchange.ts'

const EXTENSIONS = [
  'creation',
  'creation-with-upload',
  'creation-defer-length',
  'termination',
  'expiration',
  'checksum',
  'checksum-trailer',
  'concatenation',
]

/**
 * What @tus/server creates and removes by: the use cases. It never writes or reads through this.
 * @param creatorOf the request that an upload is created by
 */
export function createDatastore(
  uploads: Uploads,
  creatorOf: (upload: TusUpload) => Exchange | undefined,
): DataStore {
  class LedgerStore extends DataStore {
    override extensions = EXTENSIONS

    /** @tus/server asks for concatenation by a name with a typing error in it. */
    override hasExtension(name: string): boolean {
      return super.hasExtension(name === 'concatentation' ? 'concatenation' : name)
    }

    override async create(upload: TusUpload): Promise<TusUpload> {
      const creator = creatorOf(upload)
      if (!creator) throw new Error('an upload that nobody creates')
      const metadata = upload.metadata ?? {}
      await uploads.create({
        id: upload.id,
        ownerId: creator.userId,
        dialect: 'tus',
        size: upload.size ?? null,
        chunkSize: null,
        metadata,
        concat: creator.req.get('upload-concat') ?? null,
        checksumSha256: null,
        ...describeFile(metadata),
      })
      return upload
    }

    override remove(id: string): Promise<void> {
      return uploads.remove(id)
    }
  }
  return new LedgerStore()
}
