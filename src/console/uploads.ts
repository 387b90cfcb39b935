import type { Upload } from './types.ts'

/** The uploads that the page knows, newest first. */
export interface Uploads {
  all(): Upload[]
  get(id: string): Upload | undefined
  put(upload: Upload): void
  /** Notes one of an older page, unless it is known better. */
  putOlder(upload: Upload): void
  remove(id: string): void
  /** The server begins to tell its newest anew … */
  begin(): void
  /** … and has told all of them: what it did not tell is gone, unless it is older than those. */
  end(hasMore: boolean): void
  clear(): void
}

export function createUploads(): Uploads {
  const known = new Map<string, Upload>()
  let told = new Set<string>()
  const byAge = (a: Upload, b: Upload) =>
    b.created_at.localeCompare(a.created_at) || b.upload_id.localeCompare(a.upload_id)
  return {
    all: () => [...known.values()].toSorted(byAge),
    get: (id) => known.get(id),
    put(upload) {
      known.set(upload.upload_id, upload)
      told.add(upload.upload_id)
    },
    putOlder(upload) {
      if (!known.has(upload.upload_id)) known.set(upload.upload_id, upload)
    },
    remove: (id) => void known.delete(id),
    begin() {
      told = new Set()
    },
    end(hasMore) {
      const oldest = [...told].map((id) => known.get(id)?.created_at ?? '').toSorted()[0] ?? ''
      for (const { upload_id: id, created_at: createdAt } of known.values())
        if (!told.has(id) && (!hasMore || createdAt >= oldest)) known.delete(id)
    },
    clear: () => known.clear(),
  }
}
