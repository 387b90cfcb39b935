import { receivedBytes, type CellSpan } from './received.ts'
import { isOpen, type Upload } from './upload.ts'

/** How far an upload is, and how fast it gets on. */
export interface Progress {
  readonly upload: Upload
  /** its whole cells */
  readonly spans: readonly CellSpan[]
  readonly receivedBytes: number
  readonly bytesPerSecond: number
  /** what was counted lately, oldest first */
  readonly samples: readonly Sample[]
}

interface Sample {
  atMs: number
  bytes: number
}

/** Speed is an average over that long: chunks arrive in steps. */
const WINDOW_MS = 5_000

/**
 * What is to be told now.
 * @param before what was told last; null at first
 * @returns `before` itself where nothing has changed
 */
export function progressOf(
  before: Progress | null,
  upload: Upload,
  spans: readonly CellSpan[],
  atMs: number,
): Progress {
  const bytes = receivedBytes(upload, spans)
  const samples = [...recent(before?.samples ?? [], atMs - WINDOW_MS), { atMs, bytes }]
  const bytesPerSecond = isOpen(upload.status) ? speedOf(samples) : 0
  const isSame =
    before !== null &&
    before.bytesPerSecond === bytesPerSecond &&
    before.receivedBytes === bytes &&
    before.upload.status === upload.status &&
    before.upload.size === upload.size &&
    before.upload.updatedAt.getTime() === upload.updatedAt.getTime()
  return isSame ? before : { upload, spans, receivedBytes: bytes, bytesPerSecond, samples }
}

/** Those since then, and what had been counted by then: an upload that was still has no sample in between. */
function recent(samples: readonly Sample[], sinceMs: number): Sample[] {
  const older = samples.findLast(({ atMs }) => atMs <= sinceMs)
  const since = samples.filter(({ atMs }) => atMs > sinceMs)
  return older ? [{ atMs: sinceMs, bytes: older.bytes }, ...since] : since
}

function speedOf(samples: readonly Sample[]): number {
  const first = samples[0]
  const last = samples.at(-1)
  if (!first || !last || last.atMs === first.atMs) return 0
  // A chunk that was freed takes bytes away: that is no speed.
  return Math.max(0, Math.round(((last.bytes - first.bytes) * 1000) / (last.atMs - first.atMs)))
}
