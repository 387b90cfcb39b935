import type { Engine } from '../support/s3/endpoint.ts'

/** What engines do differently, and what the tests expect of each. */
export interface Differences {
  /** x-amz-checksum-… is checked, kept and told; where not, it is ignored */
  checksums: boolean
  /** bodies in aws-chunked framing with a checksum behind them */
  trailers: 'taken' | 'stored with their framing' | 'refused'
  /** PutObject and CompleteMultipartUpload with If-None-Match: * or If-Match */
  conditionalWrites: boolean
  tagging: boolean
  /** whether x-amz-server-side-encryption: AES256 may be asked for */
  encryption: boolean
  /** completing a completed upload again */
  completeAgain: 'answers 200' | 'NoSuchUpload'
  /** what says that an upload is gone, to somebody who aborts it again */
  abortAgain: 'NoSuchUpload' | '204'
  /** parts of unequal size, but for the last */
  unequalParts: boolean
  /** ranges copied out of sources of 5 MiB or less */
  smallRangeSource: 'refused' | 'taken'
  partNumbers: '1 to 10000' | 'any'
  /** ETags of what a KMS key encrypts */
  kmsEtagIsMd5: boolean
  /** headers of S3 that are not under the signature */
  unsignedHeaders: 'refused' | 'taken'
}

const S3: Differences = {
  checksums: true,
  trailers: 'taken',
  conditionalWrites: true,
  tagging: true,
  encryption: true,
  completeAgain: 'answers 200',
  abortAgain: 'NoSuchUpload',
  unequalParts: true,
  smallRangeSource: 'refused',
  partNumbers: '1 to 10000',
  kmsEtagIsMd5: false,
  unsignedHeaders: 'refused',
}

const R2: Differences = {
  ...S3,
  trailers: 'refused',
  tagging: false,
  encryption: false,
  completeAgain: 'NoSuchUpload',
  unequalParts: false,
}

export const DIFFERENCES: Record<Engine, Differences> = {
  emulator: S3,
  aws: S3,
  s3: S3,
  'emulated-r2': R2,
  r2: R2,
  radosgw: { ...S3 },
}

/** In what an engine departs from Amazon's S3, for the one who reads the output of the tests. */
export function departures(engine: Engine): string {
  const departing = Object.entries(DIFFERENCES[engine])
    .filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(S3[name as keyof Differences]))
    .map(([name, value]) => `${name}: ${JSON.stringify(value)}`)
  return departing.length === 0 ? 'in nothing' : departing.join(', ')
}
