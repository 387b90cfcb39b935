import { Failure } from '../failure.ts'
import { successOf } from './answer.ts'
import { headerOf, type Body, type Send } from './connection.ts'

export const TUS = { 'Tus-Resumable': '1.0.0' } as const
const PATCH_TYPE = { 'Content-Type': 'application/offset+octet-stream' }
/** The last PATCH may have the whole file checked before it answers. */
const PATCH_IDLE_MS = 5 * 60_000

export interface TusApi {
  /** @param length null where it is not known yet */
  create(
    length: number | null,
    metadata: Readonly<Record<string, string>>,
  ): Promise<{ id: string; location: string }>
  /** where to go on; and the length, null where it is not told yet */
  head(id: string): Promise<{ offset: number; length: number | null }>
  /** @returns the offset behind what was sent */
  patch(
    id: string,
    offset: number,
    body: Body,
    extra?: { length?: number; checksum?: string },
  ): Promise<number>
  remove(id: string): Promise<void>
}

export const tusPath = (id: string): string => `/files/${encodeURIComponent(id)}`

export const tusApi = (send: Send): TusApi => ({
  async create(length, metadata) {
    const headers = {
      ...TUS,
      ...(length === null ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(length) }),
      'Upload-Metadata': encodeMetadata(metadata),
    }
    const res = await send({ method: 'POST', path: '/files', headers })
    await successOf(res)
    const location = headerOf(res.headers, 'location')
    const id = location === null ? null : idIn(location)
    if (location === null || id === null)
      throw new Failure('The server made an upload and did not say where: is the Location header lost?')
    return { id, location }
  },
  async head(id) {
    const res = await send({ method: 'HEAD', path: tusPath(id), headers: TUS })
    await successOf(res)
    const length = headerOf(res.headers, 'upload-length')
    return {
      offset: offsetIn(headerOf(res.headers, 'upload-offset')),
      length: length === null ? null : Number(length),
    }
  },
  async patch(id, offset, body, { length, checksum } = {}) {
    const headers = {
      ...TUS,
      ...PATCH_TYPE,
      'Upload-Offset': String(offset),
      ...(length !== undefined && { 'Upload-Length': String(length) }),
      ...(checksum !== undefined && { 'Upload-Checksum': checksum }),
    }
    const res = await send({ method: 'PATCH', path: tusPath(id), headers, body, idleMs: PATCH_IDLE_MS })
    await successOf(res)
    return offsetIn(headerOf(res.headers, 'upload-offset'))
  },
  async remove(id) {
    await successOf(await send({ method: 'DELETE', path: tusPath(id), headers: TUS }))
  },
})

/** Behind a proxy the Location may be of another host or scheme: what counts is its last part. */
const idIn = (location: string): string | null => /\/files\/([\w-]+)\/?(?:[?#]|$)/.exec(location)?.[1] ?? null

function offsetIn(header: string | null): number {
  if (header !== null && /^\d{1,16}$/.test(header)) return Number(header)
  throw new Failure('The answer has no Upload-Offset: is a proxy dropping it?')
}

export const encodeMetadata = (metadata: Readonly<Record<string, string>>): string =>
  Object.entries(metadata)
    .map(([name, value]) => `${name} ${Buffer.from(value).toString('base64')}`)
    .join(',')
