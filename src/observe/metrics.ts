import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Meter } from '../core/ports/meter.ts'
import { renderTogether, snapshotOf } from './joined-metrics.ts'
import { createWebhookMetrics, type WebhookMetrics } from './webhook-metrics.ts'
import type { Dialect } from '../core/upload.ts'
import * as buckets from './buckets.ts'
import type { Listener } from './lifecycle.ts'
import type { RequestLine } from './log.ts'
import type { Timed } from './timed-ports.ts'

export interface Load {
  inflight: number
  queued: number
  busy: number
  workers: number
}

/** What this process is made of. */
export interface Build {
  version: string
  store: string
  database: string
}

export interface Rendered {
  contentType: string
  text: string
}

export interface Metrics {
  meter: Meter
  webhooks: WebhookMetrics
  /** of a request that is over */
  observeRequest(line: RequestLine): void
  /** what becomes of uploads */
  observeLife: Listener
  observeStore: Timed
  /** seconds that a body waited to be admitted */
  observeWait(seconds: number): void
  /** Tells at each scrape what runs, and names the store of downloads. */
  watchBuild(build: Build): void
  /** Reads the gate's load at each scrape. */
  watchLoad(load: () => Load): void
  /** Reads the room on the disk at each scrape. */
  watchDisk(freeBytes: () => Promise<number>): void
  /** the Prometheus text */
  render(): Promise<Rendered>
  /** what was counted so far, for `renderTogether` at another process */
  snapshot(): Promise<string>
  /** the Prometheus text of several processes */
  renderTogether(snapshots: readonly string[]): Promise<Rendered>
}

const METHODS = new Set(['OPTIONS', 'HEAD', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Made once: what is counted for every chunk makes no object of its own. */
const OF: Readonly<Record<Dialect, { dialect: Dialect }>> = {
  tus: { dialect: 'tus' },
  native: { dialect: 'native' },
}
const BY = { lane: { way: 'lane' }, parser: { way: 'parser' } } as const

/** Labels are bounded: dialects, reasons and route patterns, never ids, keys or paths. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })

  const counter = <T extends string>(name: string, help: string, labelNames: T[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const histogram = <T extends string>(name: string, help: string, bounds: number[], labelNames: T[] = []) =>
    new Histogram({ name, help, labelNames, registers, buckets: bounds })

  const bytes = counter('bytes_uploaded_total', 'Bytes that count, of every dialect.', ['dialect'])
  const chunks = counter('chunks_uploaded_total', 'Chunks that became whole.', ['dialect'])
  const failures = counter('chunk_upload_failures_total', 'Chunks and appends that failed.', ['dialect'])
  const bodies = counter('request_bodies_total', 'Bodies of bytes, by the way they were read.', ['way'])
  const retries = counter('retries_total', 'Requests to the storage that were tried again.', ['operation'])
  const throttled = counter('throttled_requests_total', 'Requests refused by a limit.', ['reason'])
  const created = counter('uploads_created_total', 'Uploads created.', ['dialect'])
  const completed = counter('uploads_completed_total', 'Uploads completed.', ['dialect'])
  const failed = counter('uploads_failed_total', 'Uploads that failed for good.', ['dialect'])
  const deleted = counter('uploads_deleted_total', 'Uploads deleted.', ['dialect'])
  const expired = counter('uploads_expired_total', 'Unfinished uploads that expired.')
  const sizes = histogram('upload_size_bytes', 'Size of a completed upload.', buckets.SIZES, ['dialect'])
  const lives = histogram(
    'upload_duration_seconds',
    'From the creation of an upload to its completion.',
    buckets.LIVES,
    ['dialect'],
  )
  const update = histogram('db_update_latency_seconds', 'Time of a commit in the ledger.', buckets.OPERATIONS)
  const puts = histogram('s3_put_latency_seconds', 'Time of a write to S3.', buckets.OPERATIONS)
  const operations = histogram(
    'store_operation_duration_seconds',
    'Time of an operation of the store; a write includes the wait for its bytes.',
    buckets.OPERATIONS,
    ['store', 'operation'],
  )
  const broken = counter('store_operation_failures_total', 'Operations of the store that failed.', [
    'store',
    'operation',
  ])
  const waits = histogram('body_wait_seconds', 'Time that a body waited to be admitted.', buckets.OPERATIONS)
  const requests = histogram('http_request_duration_seconds', 'Time of a request.', buckets.REQUESTS, [
    'method',
    'route',
    'status_code',
  ])
  const requestSizes = histogram('http_request_size_bytes', 'Announced length of a body.', buckets.SIZES, [
    'method',
    'route',
  ])
  const downloads = histogram('download_size_bytes', 'Bytes that a download gave.', buckets.SIZES, ['store'])
  let store = ''

  return {
    meter: {
      bytesStored: (count, dialect) => bytes.inc(OF[dialect], count),
      chunkStored: (dialect) => chunks.inc(OF[dialect]),
      bodyOpened: (way) => bodies.inc(BY[way]),
      chunkFailed: (dialect) => failures.inc(OF[dialect]),
      uploadCreated: (dialect) => created.inc(OF[dialect]),
      uploadCompleted: (dialect) => completed.inc(OF[dialect]),
      uploadExpired: () => expired.inc(),
      throttled: (reason) => throttled.inc({ reason }),
      ledgerUpdate: (seconds) => update.observe(seconds),
      storeRetried: (operation) => retries.inc({ operation }),
      storePut: (seconds) => puts.observe(seconds),
    },
    webhooks: createWebhookMetrics(registry),
    observeRequest({ method: given, route, status, ms, bodyBytes, download }) {
      const method = METHODS.has(given) ? given : 'OTHER'
      requests.observe({ method, route, status_code: status }, ms / 1000)
      if (bodyBytes) requestSizes.observe({ method, route }, bodyBytes)
      if (download && download.bytes > 0) downloads.observe({ store }, download.bytes)
    },
    observeLife({ kind, upload, at }) {
      const of = OF[upload.dialect]
      if (kind === 'failed') failed.inc(of)
      if (kind === 'deleted') deleted.inc(of)
      if (kind !== 'completed') return
      sizes.observe(of, upload.size ?? 0)
      // The clock may have been set back meanwhile.
      lives.observe(of, Math.max(0, at.getTime() - upload.createdAt.getTime()) / 1000)
    },
    observeStore(name, operation, seconds, bad) {
      const labels = { store: name, operation }
      operations.observe(labels, seconds)
      if (bad) broken.inc(labels)
    },
    observeWait: (seconds) => waits.observe(seconds),
    watchBuild(build) {
      ;({ store } = build)
      const labelNames = ['version', 'store', 'database']
      new Gauge({ name: 'build_info', help: 'What runs; always 1.', labelNames, registers }).set(
        { ...build },
        1,
      )
    },
    watchLoad(load) {
      const gauge = (name: string, help: string, read: (load: Load) => number) =>
        new Gauge({
          name,
          help,
          registers,
          collect() {
            this.set(read(load()))
          },
        })
      gauge('inflight_chunks', 'Bodies that are open.', (now) => now.inflight)
      gauge('task_queue_depth', 'Writes that wait for a worker.', (now) => now.queued)
      gauge('worker_count', 'Writes to storage that may run at a time.', (now) => now.workers)
      gauge('worker_busy_count', 'Writes to storage that run now.', (now) => now.busy)
    },
    watchDisk(freeBytes) {
      const room = new Gauge({
        name: 'storage_free_bytes',
        help: 'Room on the disk of the files; absent with S3.',
        collect: async () => {
          // A disk that is away has no room to tell of, and must not take the other metrics with it.
          room.set(await freeBytes().catch(() => NaN))
        },
        registers,
      })
    },
    render: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
    snapshot: () => snapshotOf(registry),
    renderTogether: async (snapshots) => ({
      contentType: registry.contentType,
      text: await renderTogether(snapshots),
    }),
  }
}
