import { DataStore, type Upload as TusUpload } from '@tus/server'
import { describeFile, type TusMetadata } from '../core/tus.ts'
import type { Upload } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import type { Exchange } from './exchange.ts'
import { headerOf } from './tus-request.ts'

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

/** Creates what a request asks for, under the id that was chosen for it. */
export const createOf = (
  uploads: Uploads,
  { req, userId, newId }: Exchange,
  size: number | null,
  metadata: TusMetadata,
): Promise<Upload> =>
  uploads.create({
    id: newId,
    ownerId: userId,
    dialect: 'tus',
    size,
    chunkSize: null,
    metadata,
    concat: headerOf(req, 'upload-concat') ?? null,
    checksumSha256: null,
    ...describeFile(metadata),
  })

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
      await createOf(uploads, creator, upload.size ?? null, upload.metadata ?? {})
      return upload
    }

    override remove(id: string): Promise<void> {
      return uploads.remove(id)
    }
  }
  return new LedgerStore()
}
