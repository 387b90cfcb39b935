import { createHash } from 'node:crypto'
import { crc32 } from 'node:zlib'

export const ALGORITHMS = ['crc32', 'crc32c', 'sha1', 'sha256'] as const

export type Algorithm = (typeof ALGORITHMS)[number]

/** Checksums in base64, as S3 has them in headers and documents. */
export type Checksums = Partial<Record<Algorithm, string>>

export interface Hasher {
  update(bytes: Uint8Array): void
  /** once */
  base64(): string
}

export const isAlgorithm = (name: string): name is Algorithm => ALGORITHMS.some((known) => known === name)

export function newHasher(algorithm: Algorithm | 'md5'): Hasher {
  if (algorithm === 'crc32') return crcHasher((bytes, crc) => crc32(bytes, crc))
  if (algorithm === 'crc32c') return crcHasher(crc32c)
  const hash = createHash(algorithm)
  return { update: (bytes) => hash.update(bytes), base64: () => hash.digest('base64') }
}

/** The checksum of an object of parts: over the checksums of the parts, with their number behind it. */
export function compositeOf(algorithm: Algorithm, parts: readonly string[]): string {
  const hasher = newHasher(algorithm)
  for (const part of parts) hasher.update(Buffer.from(part, 'base64'))
  return `${hasher.base64()}-${parts.length}`
}

export const checksumHeaders = (checksums: Checksums): Record<string, string> =>
  Object.fromEntries(
    Object.entries(checksums).map(([algorithm, base64]) => [`x-amz-checksum-${algorithm}`, base64]),
  )

/** As documents have them: ChecksumSHA256. */
export const checksumElements = (checksums: Checksums): Record<string, string> =>
  Object.fromEntries(
    Object.entries(checksums).map(([algorithm, base64]) => [`Checksum${algorithm.toUpperCase()}`, base64]),
  )

const LENGTHS: Record<Algorithm, number> = { crc32: 4, crc32c: 4, sha1: 20, sha256: 32 }

export const isChecksum = (algorithm: Algorithm, base64: string): boolean =>
  Buffer.from(base64, 'base64').length === LENGTHS[algorithm]

function crcHasher(next: (bytes: Uint8Array, crc: number) => number): Hasher {
  let crc = 0
  return {
    update(bytes) {
      crc = next(bytes, crc)
    },
    base64() {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(crc)
      return bytes.toString('base64')
    },
  }
}

/** Castagnoli's polynomial, bits reversed. */
const POLYNOMIAL = 0x82f63b78

const CRC32C = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
  return crc
})

function crc32c(bytes: Uint8Array, start: number): number {
  let crc = ~start
  for (const byte of bytes) crc = (CRC32C[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)
  return ~crc >>> 0
}
