import { S3Error } from './error.ts'

export interface Tag {
  Key: string
  Value: string
}

export interface Encryption {
  algorithm: 'AES256' | 'aws:kms'
  keyId?: string
}

/** What an object has besides its bytes. */
export interface Attributes {
  /** headers that come back as they were given: content-type, x-amz-meta-… */
  metadata: Record<string, string>
  tags: Tag[]
  encryption: Encryption | null
  storageClass: string
}

type Headers = Record<string, string>

const STORAGE_CLASSES = [
  'STANDARD',
  'STANDARD_IA',
  'ONEZONE_IA',
  'INTELLIGENT_TIERING',
  'GLACIER_IR',
  'GLACIER',
  'DEEP_ARCHIVE',
  'REDUCED_REDUNDANCY',
]
const R2_STORAGE_CLASSES = ['STANDARD', 'STANDARD_IA']
const SYSTEM_METADATA = [
  'content-type',
  'cache-control',
  'content-disposition',
  'content-language',
  'expires',
]
/** S3's for user metadata, R2's for custom metadata. */
const MAX_METADATA_BYTES = { s3: 2048, r2: 8192 }
const MAX_TAGS = 10

export const attributesOf = (headers: Headers, r2: boolean): Attributes => ({
  metadata: metadataOf(headers, r2),
  tags: tagsOf(headers['x-amz-tagging'] ?? ''),
  encryption: encryptionOf(headers, r2),
  storageClass: storageClassOf(headers, r2),
})

/** The headers of an answer that tell of an object's encryption. */
export function encryptionHeaders(encryption: Encryption | null): Headers {
  if (encryption === null) return {}
  return {
    'x-amz-server-side-encryption': encryption.algorithm,
    ...(encryption.keyId ? { 'x-amz-server-side-encryption-aws-kms-key-id': encryption.keyId } : {}),
  }
}

export function metadataOf(headers: Headers, r2: boolean): Headers {
  const metadata: Headers = {}
  let userBytes = 0
  for (const [name, value] of Object.entries(headers)) {
    if (SYSTEM_METADATA.includes(name)) metadata[name] = value
    if (!name.startsWith('x-amz-meta-')) continue
    metadata[name] = value
    userBytes += name.length - 'x-amz-meta-'.length + value.length
  }
  if (userBytes > MAX_METADATA_BYTES[r2 ? 'r2' : 's3']) throw new S3Error('MetadataTooLarge')
  // aws-chunked is the framing of the request, not of the object.
  const encodings = (headers['content-encoding'] ?? '').split(',').map((encoding) => encoding.trim())
  const own = encodings.filter((encoding) => encoding !== '' && encoding !== 'aws-chunked')
  if (own.length > 0) metadata['content-encoding'] = own.join(',')
  return metadata
}

/** Tags as a header has them, in the form of a query. */
export const tagsOf = (header: string): Tag[] =>
  checkTags(Array.from(new URLSearchParams(header), ([Key, Value]) => ({ Key, Value })))

export function checkTags(tags: Tag[]): Tag[] {
  const keys = new Set(tags.map(({ Key }) => Key))
  const tooLong = tags.some(({ Key, Value }) => Key.length > 128 || Value.length > 256)
  if (tags.length > MAX_TAGS || keys.size < tags.length || keys.has('') || tooLong)
    throw new S3Error('InvalidTag')
  return tags
}

function encryptionOf(headers: Headers, r2: boolean): Encryption | null {
  const algorithm = headers['x-amz-server-side-encryption']
  const keyId = headers['x-amz-server-side-encryption-aws-kms-key-id']
  if (algorithm === 'aws:kms') return { algorithm, keyId: keyId ?? 'aws/s3' }
  if (keyId !== undefined)
    throw new S3Error('InvalidArgument', 'a key id needs x-amz-server-side-encryption: aws:kms')
  if (algorithm !== undefined && algorithm !== 'AES256')
    throw new S3Error('InvalidArgument', `no server side encryption ${algorithm}`)
  // S3 encrypts everything, and says so; R2 does and doesn't say.
  return r2 ? null : { algorithm: 'AES256' }
}

function storageClassOf(headers: Headers, r2: boolean): string {
  const name = headers['x-amz-storage-class'] ?? 'STANDARD'
  if (!(r2 ? R2_STORAGE_CLASSES : STORAGE_CLASSES).includes(name)) throw new S3Error('InvalidStorageClass')
  return name
}
