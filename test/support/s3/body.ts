import { decodeAwsChunked } from './aws-chunked.ts'
import {
  ALGORITHMS,
  isChecksum,
  newHasher,
  type Algorithm,
  type Checksums,
  type Hasher,
} from './checksums.ts'
import { S3Error } from './error.ts'
import type { Files, StoredFile } from './files.ts'
import type { Call } from './call.ts'

const STREAMING_TRAILER = 'STREAMING-UNSIGNED-PAYLOAD-TRAILER'
const MAX_DOCUMENT_BYTES = 4 * 1024 * 1024

export interface Received {
  file: StoredFile
  md5: Buffer
  checksums: Checksums
}

/** Takes the body of an object or a part, with every check of integrity that S3 makes. */
export async function receiveFile(call: Call, files: Files): Promise<Received> {
  const checked = checkedBody(call)
  const file = await files.write(checked.bytes)
  return { file, md5: checked.md5(), checksums: checked.checksums() }
}

/** The body of a request that is a document; checked in the same way. */
export async function receiveText(call: Call): Promise<string> {
  const pieces: Buffer[] = []
  if (lengthOf(call) > MAX_DOCUMENT_BYTES) throw new S3Error('MalformedXML')
  for await (const piece of checkedBody(call).bytes) pieces.push(piece)
  return Buffer.concat(pieces).toString('utf8')
}

/** How many bytes the object or part will have; said before the first of them. */
export function lengthOf({ headers, payload }: Call): number {
  const header = payload.startsWith('STREAMING-') ? 'x-amz-decoded-content-length' : 'content-length'
  const length = headers[header]
  if (length === undefined || !/^\d+$/.test(length)) throw new S3Error('MissingContentLength')
  return Number(length)
}

function checkedBody(call: Call) {
  const { headers, payload, rules } = call
  const streaming = payload.startsWith('STREAMING-')
  if (streaming && (payload !== STREAMING_TRAILER || rules.r2))
    throw new S3Error('NotImplemented', `${payload} is not implemented`)
  const length = lengthOf(call)
  const trailers = new Map<string, string>()
  const algorithm = announcedChecksum(headers)
  const sum = algorithm && newHasher(algorithm)
  const md5 = newHasher('md5')
  const signed = /^[0-9a-f]{64}$/.test(payload) ? newHasher('sha256') : null
  const hashers = [md5, sum, signed].filter((hasher): hasher is Hasher => hasher !== null)
  let digest = ''
  let checksum = ''

  async function* bytes(): AsyncGenerator<Buffer> {
    const body = call.body()
    let size = 0
    for await (const piece of streaming ? decodeAwsChunked(body, trailers) : body) {
      size += piece.length
      for (const hasher of hashers) hasher.update(piece)
      yield piece
    }
    if (size !== length) throw new S3Error('IncompleteBody')
    if (signed && Buffer.from(signed.base64(), 'base64').toString('hex') !== payload)
      throw new S3Error('XAmzContentSHA256Mismatch')
    digest = md5.base64()
    checkMd5(headers['content-md5'], digest)
    if (!sum || !algorithm) return
    checksum = sum.base64()
    const name = `x-amz-checksum-${algorithm}`
    checkSum(algorithm, headers[name] ?? trailers.get(name), checksum)
  }

  return {
    bytes: bytes(),
    // After the last byte only.
    md5: () => Buffer.from(digest, 'base64'),
    checksums: (): Checksums => (algorithm ? { [algorithm]: checksum } : {}),
  }
}

/** The one checksum that comes with the body, in a header or behind it. */
function announcedChecksum(headers: Record<string, string>): Algorithm | null {
  const trailer = headers['x-amz-trailer']?.toLowerCase()
  const announced = ALGORITHMS.filter((algorithm) => {
    const name = `x-amz-checksum-${algorithm}`
    return name in headers || name === trailer
  })
  if (announced.length > 1) throw new S3Error('InvalidRequest', 'Expecting a single x-amz-checksum- header.')
  return announced[0] ?? null
}

function checkMd5(given: string | undefined, received: string): void {
  if (given === undefined) return
  if (Buffer.from(given, 'base64').length !== 16) throw new S3Error('InvalidDigest')
  if (given !== received) throw new S3Error('BadDigest')
}

function checkSum(algorithm: Algorithm, given: string | undefined, received: string): void {
  if (given === undefined || !isChecksum(algorithm, given))
    throw new S3Error('InvalidRequest', `Value for x-amz-checksum-${algorithm} header is invalid.`)
  if (given !== received) throw new S3Error('BadDigest')
}
