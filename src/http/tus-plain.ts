import type { IncomingMessage } from 'node:http'
import { Metadata } from '@tus/server'
import { MAX_METADATA_BYTES, type TusMetadata } from '../core/tus.ts'
import { metadataIn } from './tus-request.ts'

/** A creation that tells its length. */
export interface PlainCreation {
  size: number
  metadata: TusMetadata
}

/**
 * Reads a POST to which @tus/server has nothing to say.
 * @returns null where something is special about it, or wrong: that is for @tus/server to judge
 */
export function plainCreation(req: IncomingMessage, maxUploadBytes: number): PlainCreation | null {
  const { method, headers } = req
  const length = headers['upload-length']
  if (method !== 'POST' || !isBytes(length) || Number(length) > maxUploadBytes) return null
  if (headers['upload-offset'] !== undefined || isSpecial(req)) return null
  const metadata = metadataOf(req)
  return metadata && { size: Number(length), metadata }
}

/** Whether @tus/server has nothing to say to a PATCH: it tells its offset, and nothing special. */
export function isPlainAppend(req: IncomingMessage): boolean {
  const { method, headers } = req
  if (method !== 'PATCH' || !isBytes(headers['upload-offset']) || isSpecial(req)) return false
  return headers['upload-length'] === undefined && headers['upload-metadata'] === undefined
}

const isSpecial = ({ headers }: IncomingMessage): boolean =>
  headers['upload-defer-length'] !== undefined || headers['upload-concat'] !== undefined

/** A number of bytes as every check of @tus/server lets it pass. */
const isBytes = (value: string | string[] | undefined): boolean =>
  typeof value === 'string' && /^(0|[1-9]\d{0,14})$/.test(value)

/** null for metadata that can't be read, or are too long */
function metadataOf(req: IncomingMessage): TusMetadata | null {
  const told = metadataIn(req)
  if (told === '') return {}
  if (Buffer.byteLength(told) > MAX_METADATA_BYTES) return null
  try {
    return Metadata.parse(told)
  } catch {
    return null
  }
}
