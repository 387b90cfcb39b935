import { createHash } from 'node:crypto'
import { encryptionHeaders } from './attributes.ts'
import { receiveText } from './body.ts'
import { bucketOf, change, quoted, uploadOf, xmlAnswer, type Answer, type Call } from './call.ts'
import { ALGORITHMS, checksumElements, compositeOf, type Checksums } from './checksums.ts'
import { bareEtag, checkWrite } from './conditions.ts'
import { S3Error } from './error.ts'
import { encodePath } from './signature.ts'
import type { MultipartUpload, Part, StoredObject } from './state.ts'
import { document, elements, textOf } from './xml.ts'

/** A part as the request names it. */
interface Named {
  number: number
  etag: string
  checksums: Checksums
}

/** CompleteMultipartUpload: the named parts become the object, and the others go. */
export async function completeUpload(call: Call): Promise<Answer> {
  const { bucket, key, query, headers, rules } = call
  const named = namedParts(await receiveText(call))
  const { objects, completed } = bucketOf(call)
  const uploadId = query.get('uploadId') ?? ''
  const before = completed.get(uploadId)
  if (before !== undefined && rules.completesAgain) return xmlAnswer(before)

  const upload = uploadOf(call)
  const parts = partsOf(upload, named)
  checkSizes(parts, call)
  checkWrite(headers, objects.get(key))
  const object: StoredObject = {
    key,
    size: parts.reduce((sum, { size }) => sum + size, 0),
    etag: multipartEtag(parts),
    modifiedMs: Date.now(),
    attributes: upload.attributes,
    checksums: compositeChecksums(upload, parts),
    files: parts.map(({ file }) => file),
  }
  const answer = document('CompleteMultipartUploadResult', {
    Location: `http://${headers['host']}/${bucket}/${encodePath(key)}`,
    Bucket: bucket,
    Key: key,
    ETag: quoted(object.etag),
    ...checksumElements(object.checksums),
  })
  change(call, { type: 'upload completed', bucket, uploadId, object, answer })
  return xmlAnswer(answer, encryptionHeaders(upload.attributes.encryption))
}

function namedParts(xml: string): Named[] {
  const named = elements(xml, 'Part').map((part): Named => {
    const checksums = ALGORITHMS.map((name) => [name, textOf(part, `Checksum${name.toUpperCase()}`)] as const)
    return {
      number: Number(textOf(part, 'PartNumber')),
      etag: bareEtag(textOf(part, 'ETag') ?? ''),
      checksums: Object.fromEntries(checksums.filter(([, value]) => value !== undefined)),
    }
  })
  const valid = named.every(({ number, etag }) => Number.isInteger(number) && number > 0 && etag !== '')
  if (named.length === 0 || !valid) throw new S3Error('MalformedXML')
  return named
}

function partsOf(upload: MultipartUpload, named: readonly Named[]): Part[] {
  if (named.some(({ number }, i) => number <= (named[i - 1]?.number ?? 0)))
    throw new S3Error('InvalidPartOrder')
  return named.map(({ number, etag, checksums }) => {
    const part = upload.parts.get(number)
    if (part?.etag !== etag) throw new S3Error('InvalidPart')
    if (upload.algorithm && checksums[upload.algorithm] === undefined)
      throw new S3Error('InvalidRequest', `The checksum of part ${number} is missing in the request.`)
    for (const name of ALGORITHMS)
      if (checksums[name] !== undefined && checksums[name] !== part.checksums[name])
        throw new S3Error('InvalidPart')
    return part
  })
}

function checkSizes(parts: readonly Part[], { headers, rules }: Call): void {
  const size = parts.reduce((sum, part) => sum + part.size, 0)
  const announced = headers['x-amz-mp-object-size']
  if (announced !== undefined && Number(announced) !== size)
    throw new S3Error('InvalidRequest', `the parts make ${size} bytes, not ${announced}`)
  const [first, last] = [parts[0], parts.at(-1)]
  const others = parts.slice(0, -1)
  if (others.some((part) => part.size < rules.minPartBytes)) throw new S3Error('EntityTooSmall')
  if (!rules.r2 || !first || !last) return
  if (others.some((part) => part.size !== first.size) || last.size > first.size)
    throw new S3Error('InvalidPart', 'All non-trailing parts must have the same length.')
}

function multipartEtag(parts: readonly Part[]): string {
  const hash = createHash('md5')
  for (const { etag } of parts) hash.update(Buffer.from(etag, 'hex'))
  return `${hash.digest('hex')}-${parts.length}`
}

function compositeChecksums({ algorithm }: MultipartUpload, parts: readonly Part[]): Checksums {
  if (algorithm === null) return {}
  const each = parts.map(({ checksums }) => checksums[algorithm]).filter((sum) => sum !== undefined)
  return each.length === parts.length ? { [algorithm]: compositeOf(algorithm, each) } : {}
}
