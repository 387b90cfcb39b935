import { createHash } from 'node:crypto'
import type { Received } from './body.ts'
import { bucketOf, type Call } from './call.ts'
import { newHasher, type Algorithm } from './checksums.ts'
import { checkRead, type Range } from './conditions.ts'
import { S3Error } from './error.ts'
import type { Files } from './files.ts'
import { splitOnce } from './operation.ts'
import type { StoredObject } from './state.ts'

/** The object that a copy names, under its conditions. */
export function sourceOf(call: Call): { sourceBucket: string; source: StoredObject } {
  const [name, query] = splitOnce(call.headers['x-amz-copy-source'] ?? '', '?')
  if (query !== undefined) throw new S3Error('NotImplemented', 'there are no versions here')
  const [sourceBucket, key = ''] = splitOnce(decodeURIComponent(name).replace(/^\//, ''), '/')
  if (sourceBucket === '' || key === '')
    throw new S3Error('InvalidArgument', 'a copy source is a bucket and a key')
  const source = bucketOf(call, sourceBucket).objects.get(key)
  if (!source) throw new S3Error('NoSuchKey')
  checkRead(call.headers, source, 'x-amz-copy-source-')
  return { sourceBucket, source }
}

/** Writes the bytes from `start` up to `end` of an object into a file of their own. */
export async function copyFile(
  files: Files,
  source: StoredObject,
  { start, end }: Range,
  algorithm: Algorithm | null = null,
): Promise<Received> {
  const md5 = createHash('md5')
  const sum = algorithm && newHasher(algorithm)
  async function* hashed() {
    for await (const piece of files.read(source.files, start, end)) {
      md5.update(piece)
      sum?.update(piece)
      yield piece
    }
  }
  const file = await files.write(hashed())
  return { file, md5: md5.digest(), checksums: algorithm && sum ? { [algorithm]: sum.base64() } : {} }
}
