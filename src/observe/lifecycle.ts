import type { Committed, UploadLedger } from '../core/ports/ledger.ts'
import type { NewUpload, Status, Upload } from '../core/upload.ts'

/** A turn in the life of an upload, at which the ledger let exactly one process in. */
export interface LifeEvent {
  kind: 'created' | 'completed' | 'failed' | 'deleted' | 'expired'
  upload: NewUpload
  at: Date
  /** why it failed */
  reason?: string
}

export type Listener = (event: LifeEvent) => void

/** Uploads whose completion has begun, and that may yet be asked for. */
const REMEMBERED = 1_000

/**
 * The ledger, whose turning points are told, once each, whoever brought them about: a request, or a chore
 * after a crash. What it answers is not touched, and nobody waits for who listens.
 */
export function watchedLedger(ledger: UploadLedger, tell: Listener): UploadLedger {
  /** A transition answers no upload, but whoever makes one has looked at it just before. */
  const finalizing = new Map<string, Upload>()
  const remember = (upload: Upload | null) => {
    if (upload?.status !== 'FINALIZING') return
    const oldest = finalizing.size >= REMEMBERED ? finalizing.keys().next().value : undefined
    if (oldest !== undefined) finalizing.delete(oldest)
    finalizing.set(upload.id, upload)
  }
  const tellOf = async (kind: LifeEvent['kind'], id: string, at: Date, reason?: string) => {
    const upload = finalizing.get(id) ?? (await ledger.get(id))
    finalizing.delete(id)
    if (upload) tell({ kind, upload, at, ...(reason !== undefined && { reason }) })
  }
  const committed = (at: Date) => (done: Committed) => {
    if (done.ok && done.reached === 'COMPLETED') tell({ kind: 'completed', upload: done.upload, at })
  }

  return {
    ...ledger,
    get: (id) => noting(ledger.get(id), remember),
    create: (upload) =>
      noting(ledger.create(upload), () => tell({ kind: 'created', upload, at: upload.createdAt })),
    createOnce: (upload, done) =>
      noting(ledger.createOnce(upload, done), (earlier) => {
        if (!earlier) tell({ kind: 'created', upload, at: upload.createdAt })
      }),
    createFinal: (upload, key) =>
      noting(ledger.createFinal(upload, key), ({ id }) => {
        if (id === upload.id) tell({ kind: 'created', upload, at: upload.createdAt })
      }),
    commit: (commit) => noting(ledger.commit(commit), committed(commit.at)),
    declareSize: (id, size, at, whenFull) =>
      noting(ledger.declareSize(id, size, at, whenFull), committed(at)),
    transition: (id, to, at, reason, fences) =>
      noting(ledger.transition(id, to, at, reason, fences), (moved) => {
        const kind = KINDS[to]
        if (moved && kind) return tellOf(kind, id, at, reason)
        if (moved) finalizing.delete(id)
        return undefined
      }),
    markDeleted: (id, at) =>
      noting(ledger.markDeleted(id, at), (upload) => {
        if (upload) tell({ kind: 'deleted', upload, at })
      }),
    expire: (id, now) =>
      noting(ledger.expire(id, now), (expired) => (expired ? tellOf('expired', id, now) : undefined)),
  }
}

const KINDS: Partial<Record<Status, LifeEvent['kind']>> = { COMPLETED: 'completed', FAILED: 'failed' }

/** The work itself, whose result is seen before whoever waits for it sees it. Its failures are theirs. */
function noting<T>(work: Promise<T>, see: (result: T) => unknown): Promise<T> {
  work.then(see).catch(() => {})
  return work
}
