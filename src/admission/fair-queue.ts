/** Things that wait, each for an upload of an owner. Owners take turns, and so do the uploads of an owner. */
export interface FairQueue<T extends object> {
  size(): number
  push(ownerId: string, uploadId: string, item: T): void
  /** Takes one out of the middle. @returns false when it is not there any more */
  remove(ownerId: string, uploadId: string, item: T): boolean
  /**
   * The next in turn, past those that had better not go before others; where all of them had better
   * not, simply the next. The cost grows with how many uploads are passed over, and not with how many wait.
   */
  shift(mayGoFirst?: (item: T) => boolean): T | undefined
}

/** Maps and sets keep their order: what is first is next, what was served goes to the back. */
export function createFairQueue<T extends object>(): FairQueue<T> {
  const owners = new Map<string, Map<string, Set<T>>>()
  let size = 0

  const remove = (ownerId: string, uploadId: string, item: T): boolean => {
    const uploads = owners.get(ownerId)
    const items = uploads?.get(uploadId)
    if (!uploads || !items?.delete(item)) return false
    if (items.size === 0) uploads.delete(uploadId)
    if (uploads.size === 0) owners.delete(ownerId)
    size -= 1
    return true
  }

  const next = (mayGoFirst: (item: T) => boolean) => {
    for (const [ownerId, uploads] of owners)
      for (const [uploadId, items] of uploads) {
        const first = items.values().next().value
        if (first && mayGoFirst(first)) return { ownerId, uploadId, item: first }
      }
    return undefined
  }

  return {
    size: () => size,
    push(ownerId, uploadId, item) {
      const uploads = owners.get(ownerId) ?? new Map<string, Set<T>>()
      owners.set(ownerId, uploads)
      const items = uploads.get(uploadId) ?? new Set<T>()
      uploads.set(uploadId, items)
      items.add(item)
      size += 1
    },
    remove,
    shift(mayGoFirst = () => true) {
      const chosen = next(mayGoFirst) ?? next(() => true)
      if (!chosen) return undefined
      const { ownerId, uploadId, item } = chosen
      remove(ownerId, uploadId, item)
      const uploads = owners.get(ownerId)
      if (uploads) {
        toBack(owners, ownerId)
        toBack(uploads, uploadId)
      }
      return item
    },
  }
}

function toBack<T>(map: Map<string, T>, key: string): void {
  const value = map.get(key)
  if (value === undefined || !map.delete(key)) return
  map.set(key, value)
}
