import type { z } from 'zod'
import { HttpError } from '../core/errors.ts'
import type { Progress } from '../core/progress.ts'
import { publicStatus } from '../core/upload.ts'
import type { Uploads } from '../uploads/use-cases.ts'
import { WATCHED_UPLOADS } from '../uploads/watch.ts'
import type { EventStream, EventStreams } from './event-stream.ts'
import type { Handler } from './exchange.ts'
import { loadOf, type Load } from './limits.ts'
import type { listReady, uploadGone, uploadProgress } from './watching-schemas.ts'
import { view } from '../core/view.ts'

const LOAD_MS = 2_000
const OVER = new Set(['COMPLETED', 'FAILED', 'ABORTED'])

/** One upload, until it is finished or gone. */
export const watchUpload =
  (uploads: Uploads, streams: EventStreams): Handler =>
  async (exchange) => {
    const { uploadId: id } = exchange
    // What can't be watched is an error and not a stream.
    await uploads.get(id)
    await stream(exchange, streams, (events) =>
      uploads.watching.upload.watch(id, {
        see(progress) {
          events.send('upload', id, progressView(progress))
          if (OVER.has(publicStatus(progress.upload.status))) leave(events, 'end', id)
        },
        end() {
          // Else the database did not answer for a moment: the client may come again.
          uploads
            .get(id)
            .then(events.end, (error: unknown) =>
              isGone(error) ? leave(events, 'removed', id) : events.end(),
            )
        },
      }),
    )
  }

/**
 * The newest uploads of a user, as long as the client likes, and the load of the process. `ready` says that
 * all of them have been told.
 */
export const watchList =
  (uploads: Uploads, streams: EventStreams, load: () => Load): Handler =>
  (exchange) =>
    stream(exchange, streams, (events) => {
      let before: readonly Progress[] | null = null
      const tell = (progress: Progress) => events.send('upload', progress.upload.id, progressView(progress))
      const unwatch = uploads.watching.uploadsOf.watch(exchange.userId, {
        see(now) {
          const known = new Set(before ?? [])
          // Oldest first, as they were created.
          for (const progress of now.toReversed()) if (!known.has(progress)) tell(progress)
          if (before === null) events.send('ready', 'ready', readyOf(now))
          else for (const id of removedFrom(before, now)) events.send('removed', id, goneOf(id))
          before = now
        },
        end: events.end,
      })
      const stopLoad = tellLoad(events, load)
      return () => {
        unwatch()
        stopLoad()
      }
    })

/** Opens a stream, and ends what feeds it when it is over. */
async function stream(
  exchange: Parameters<Handler>[0],
  streams: EventStreams,
  feed: (events: EventStream) => () => void,
): Promise<void> {
  const events = streams.open(exchange)
  // RFC 9110 §9.3.2: the same head, and nothing behind it.
  if (exchange.req.method === 'HEAD') return events.end()
  const stop = feed(events)
  await events.over
  stop()
}

const isGone = (error: unknown): boolean =>
  error instanceof HttpError && (error.code === 'not_found' || error.code === 'gone')

function leave(events: EventStream, event: 'end' | 'removed', id: string): void {
  events.send(event, `${event} ${id}`, goneOf(id))
  events.end()
}

function tellLoad(events: EventStream, load: () => Load): () => void {
  let told = ''
  const tell = () => {
    const now = loadOf(load())
    if (JSON.stringify(now) === told) return
    told = JSON.stringify(now)
    events.send('load', 'load', now)
  }
  tell()
  const timer = setInterval(tell, LOAD_MS)
  return () => clearInterval(timer)
}

/** Who was in the page and is not: deleted, unless newer ones have pushed it off the end. */
function removedFrom(before: readonly Progress[], now: readonly Progress[]): string[] {
  const ids = new Set(now.map(({ upload }) => upload.id))
  const oldest = now.length < WATCHED_UPLOADS ? undefined : now.at(-1)?.upload.createdAt
  return before
    .filter(({ upload }) => !ids.has(upload.id) && (oldest === undefined || upload.createdAt > oldest))
    .map(({ upload }) => upload.id)
}

const readyOf = (now: readonly Progress[]): z.output<typeof listReady> => ({
  has_more: now.length === WATCHED_UPLOADS,
})

const goneOf = (id: string): z.output<typeof uploadGone> => ({ upload_id: id })

const progressView = ({
  upload,
  spans,
  receivedBytes,
  bytesPerSecond,
}: Progress): Readonly<z.output<typeof uploadProgress>> => ({
  ...view(upload),
  received_bytes: receivedBytes,
  received_chunks: spans.map(([first, last]) => [first, last]),
  bytes_per_second: bytesPerSecond,
})
