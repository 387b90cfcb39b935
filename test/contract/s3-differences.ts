import type { Engine } from '../support/s3/endpoint.ts'

/** What engines do differently, and what the tests expect of each. */
export interface Differences {
  /** x-amz-checksum-… is checked, kept and told; where not, it is ignored */
  checksums: boolean
  /** bodies in aws-chunked framing, with a checksum behind them */
  trailers: 'taken' | 'refused'
  /** headers of S3 that are not under the signature */
  unsignedHeaders: 'refused' | 'taken'
  tagging: boolean
  /** whether a multipart upload keeps the tags that it was created with */
  uploadTags: boolean
  /** x-amz-server-side-encryption: AES256 */
  encryption: 'told' | 'refused' | 'ignored'
  /** ETags of what a KMS key encrypts */
  kmsEtagIsMd5: boolean
  badStorageClass: 'InvalidStorageClass' | 'InvalidArgument'
  /** PutObject with If-Match; If-None-Match: * is good everywhere */
  writeIfMatch: boolean
  /** CompleteMultipartUpload with If-None-Match: * */
  completeIfNoneMatch: 'checked' | 'ignored'
  /** completing a completed upload again */
  completeAgain: 'answers 200' | 'NoSuchUpload'
  /** whether the answer to Complete has the ETag of the object */
  completeTellsEtag: boolean
  /** completing with fewer parts than were uploaded */
  completeSomeParts: 'takes those' | 'InvalidPart'
  completeOutOfOrder: 'InvalidPartOrder' | 'takes them'
  /** parts of unequal size, but for the last */
  unequalParts: 'taken' | 'InvalidPart'
  partNumbers: '1 to 10000' | 'any'
  /** ranges copied out of sources of 5 MiB or less */
  smallRangeSource: 'refused' | 'taken'
  /** what listing the parts of an upload says that is gone, and completing it */
  listGone: 'NoSuchUpload' | 'NoSuchKey'
  completeGone: 'NoSuchUpload' | 'InternalError'
  /** whether ETags are in quotes where a document tells of a copy */
  copyEtagsQuoted: boolean
}

const S3: Differences = {
  checksums: true,
  trailers: 'taken',
  unsignedHeaders: 'refused',
  tagging: true,
  uploadTags: true,
  encryption: 'told',
  kmsEtagIsMd5: false,
  badStorageClass: 'InvalidStorageClass',
  writeIfMatch: true,
  completeIfNoneMatch: 'checked',
  completeAgain: 'answers 200',
  completeTellsEtag: true,
  completeSomeParts: 'takes those',
  completeOutOfOrder: 'InvalidPartOrder',
  unequalParts: 'taken',
  partNumbers: '1 to 10000',
  smallRangeSource: 'refused',
  listGone: 'NoSuchUpload',
  completeGone: 'NoSuchUpload',
  copyEtagsQuoted: true,
}

const R2: Differences = {
  ...S3,
  trailers: 'refused',
  tagging: false,
  uploadTags: false,
  encryption: 'refused',
  completeAgain: 'NoSuchUpload',
  unequalParts: 'InvalidPart',
}

/** Ceph 16. */
const RADOSGW: Differences = {
  ...S3,
  checksums: false,
  trailers: 'refused',
  unsignedHeaders: 'taken',
  uploadTags: false,
  encryption: 'ignored',
  kmsEtagIsMd5: true,
  badStorageClass: 'InvalidArgument',
  writeIfMatch: false,
  completeIfNoneMatch: 'ignored',
  completeTellsEtag: false,
  completeSomeParts: 'InvalidPart',
  completeOutOfOrder: 'takes them',
  partNumbers: 'any',
  smallRangeSource: 'taken',
  listGone: 'NoSuchKey',
  completeGone: 'InternalError',
  copyEtagsQuoted: false,
}

export const DIFFERENCES: Record<Engine, Differences> = {
  emulator: S3,
  aws: S3,
  s3: S3,
  'emulated-r2': R2,
  r2: R2,
  radosgw: RADOSGW,
}

/** In what an engine departs from Amazon's S3, for the one who reads the output of the tests. */
export function departures(engine: Engine): string {
  const departing = Object.entries(DIFFERENCES[engine])
    .filter(([name, value]) => value !== S3[name as keyof Differences])
    .map(([name, value]) => `${name}: ${value}`)
  return departing.length === 0 ? 'in nothing' : departing.join(', ')
}
