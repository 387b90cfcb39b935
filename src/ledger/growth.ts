import type { HttpError } from '../core/errors.ts'
import { overQuota, reservedBytes } from '../core/quota.ts'
import type { Upload } from '../core/upload.ts'
import type { PlannedCell } from './progress.ts'
import type { Quota } from './quota.ts'
import type { Client } from './statements.ts'

/** What the uploads of a batch may grow by. Only those grow that have no length: it is reserved once declared. */
export interface Growth {
  /** Takes the bytes of cells, or tells why there is no room for them. */
  refusal(upload: Upload, cells: readonly PlannedCell[]): HttpError | null
  /** Has the uploads counted as they are now. */
  charge(uploads: readonly Upload[]): Promise<void>
}

const UNLIMITED: Growth = { refusal: () => null, charge: async () => {} }

export async function growthOf(tx: Client, quota: Quota | null, uploads: readonly Upload[]): Promise<Growth> {
  const growing = new Map(uploads.filter(({ size }) => size === null).map((upload) => [upload.id, upload]))
  if (!quota || growing.size === 0) return UNLIMITED
  const left = new Map<string, number>()
  // In one order, so that no two processes wait for each other.
  const owners = new Set([...growing.values()].map(({ ownerId }) => ownerId))
  for (const ownerId of [...owners].toSorted()) left.set(ownerId, await quota.left(tx, ownerId))

  return {
    refusal({ id, ownerId }, cells) {
      const bytes = growing.has(id) ? cells.reduce((sum, { from, to }) => sum + to - from, 0) : 0
      if (bytes === 0) return null
      const room = (left.get(ownerId) ?? 0) - bytes
      if (room < 0) return overQuota(quota.maxBytes)
      left.set(ownerId, room)
      return null
    },
    async charge(now) {
      for (const upload of now) {
        const before = growing.get(upload.id)
        const byBytes = before ? reservedBytes(upload) - reservedBytes(before) : 0
        if (byBytes !== 0) await quota.adjust(tx, upload.ownerId, byBytes)
      }
    },
  }
}
