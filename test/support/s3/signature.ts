import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { S3Error } from './error.ts'

export interface Credentials {
  accessKeyId: string
  secretAccessKey: string
}

export interface SignedRequest {
  method: string
  /** decoded */
  path: string
  query: URLSearchParams
  headers: Record<string, string>
}

interface Claim {
  credential: string
  signedHeaders: string[]
  signature: string
  date: string
  payload: string
  /** of a presigned URL; null when the headers carry the signature */
  expiresSeconds: number | null
}

const MAX_SKEW_MS = 15 * 60 * 1000
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600

/**
 * Checks the Signature Version 4 of a request, in its headers or its query.
 * @param regions whose names a signature may carry
 * @returns what the signature says of the body: a SHA-256 in hex, UNSIGNED-PAYLOAD or STREAMING-…
 * @see https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-authenticating-requests.html
 */
export function verifySignature(
  request: SignedRequest,
  credentials: Credentials,
  regions: readonly string[],
): string {
  const claim = claimOf(request)
  const [accessKeyId, day = '', region = '', service, end] = claim.credential.split('/')
  if (accessKeyId !== credentials.accessKeyId) throw new S3Error('InvalidAccessKeyId')
  if (end !== 'aws4_request' || service !== 's3' || !regions.includes(region) || !claim.date.startsWith(day))
    throw new S3Error('AuthorizationHeaderMalformed', `the scope ${claim.credential} is wrong`)
  checkTime(claim)
  checkSignedHeaders(request, claim)

  const scope = `${day}/${region}/s3/aws4_request`
  const toSign = ['AWS4-HMAC-SHA256', claim.date, scope, sha256(canonicalRequest(request, claim))].join('\n')
  const key = [day, region, 's3', 'aws4_request'].reduce<string | Buffer>(
    hmac,
    `AWS4${credentials.secretAccessKey}`,
  )
  if (!sameText(hmac(key, toSign).toString('hex'), claim.signature))
    throw new S3Error('SignatureDoesNotMatch')
  return claim.payload
}

const AUTHORIZATION =
  /^AWS4-HMAC-SHA256 Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/

function claimOf({ headers, query }: SignedRequest): Claim {
  const { authorization } = headers
  if (authorization !== undefined) {
    const [, credential, signed, signature] = AUTHORIZATION.exec(authorization) ?? []
    const payload = headers['x-amz-content-sha256']
    if (!credential || !signed || !signature) throw new S3Error('AuthorizationHeaderMalformed')
    if (!payload) throw new S3Error('InvalidRequest', 'Missing required header: x-amz-content-sha256')
    const date = headers['x-amz-date'] ?? ''
    return { credential, signedHeaders: signed.split(';'), signature, date, payload, expiresSeconds: null }
  }
  const signature = query.get('X-Amz-Signature')
  if (signature === null) throw new S3Error('AccessDenied')
  return {
    credential: query.get('X-Amz-Credential') ?? '',
    signedHeaders: (query.get('X-Amz-SignedHeaders') ?? '').split(';'),
    signature,
    date: query.get('X-Amz-Date') ?? '',
    payload: query.get('X-Amz-Content-Sha256') ?? 'UNSIGNED-PAYLOAD',
    expiresSeconds: Number(query.get('X-Amz-Expires') ?? Number.NaN),
  }
}

function checkTime({ date, expiresSeconds }: Claim): void {
  const [, year, month, day, hour, minute, second] =
    /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(date) ?? []
  const signedAtMs = Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`)
  if (Number.isNaN(signedAtMs)) throw new S3Error('AccessDenied', 'the date of the signature is not valid')
  if (expiresSeconds === null) {
    if (Math.abs(Date.now() - signedAtMs) > MAX_SKEW_MS) throw new S3Error('RequestTimeTooSkewed')
    return
  }
  if (!(expiresSeconds >= 1 && expiresSeconds <= MAX_EXPIRES_SECONDS))
    throw new S3Error('AuthorizationQueryParametersError')
  if (signedAtMs - Date.now() > MAX_SKEW_MS) throw new S3Error('AccessDenied', 'Request is not yet valid')
  if (Date.now() > signedAtMs + expiresSeconds * 1000)
    throw new S3Error('AccessDenied', 'Request has expired')
}

/** The host, and every header that means something to S3, must be under the signature. */
function checkSignedHeaders({ headers }: SignedRequest, { signedHeaders }: Claim): void {
  const wanted = ['host', ...Object.keys(headers).filter((name) => name.startsWith('x-amz-'))]
  const unsigned = wanted.filter((name) => !signedHeaders.includes(name))
  if (unsigned.length > 0) throw new S3Error('AccessDenied', `headers not signed: ${unsigned.join(', ')}`)
}

function canonicalRequest({ method, path, query, headers }: SignedRequest, claim: Claim): string {
  const parameters = Array.from(query)
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [encode(name), encode(value)] as const)
    .toSorted((a, b) => compare(a[0], b[0]) || compare(a[1], b[1]))
    .map(([name, value]) => `${name}=${value}`)
  const lines = claim.signedHeaders.map(
    (name) => `${name}:${(headers[name] ?? '').trim().replaceAll(/\s+/g, ' ')}\n`,
  )
  return [
    method,
    encodePath(path),
    parameters.join('&'),
    lines.join(''),
    claim.signedHeaders.join(';'),
    claim.payload,
  ].join('\n')
}

const encode = (text: string) =>
  encodeURIComponent(text).replaceAll(
    /[!'()*]/g,
    (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`,
  )

export const encodePath = (path: string): string => path.split('/').map(encode).join('/')

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0)
const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const hmac = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()
const sameText = (a: string, b: string) =>
  a.length === b.length && timingSafeEqual(Buffer.from(a), Buffer.from(b))
