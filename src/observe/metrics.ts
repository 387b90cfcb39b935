import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import type { Meter } from '../core/ports.ts'

export interface Load {
  inflight: number
  queued: number
  busy: number
  workers: number
}

export interface Metrics {
  meter: Meter
  observeRequest(method: string, route: string, status: number, seconds: number): void
  /** Reads the gate's load at each scrape. */
  watchLoad(load: () => Load): void
  /** Reads the room on the disk at each scrape. */
  watchDisk(freeBytes: () => Promise<number>): void
  /** the Prometheus text */
  render(): Promise<{ contentType: string; text: string }>
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

const METHODS = new Set(['OPTIONS', 'HEAD', 'GET', 'POST', 'PUT', 'PATCH', 'DELETE'])

/** Labels are bounded: dialects, reasons and route patterns, never ids, keys or paths. */
export function createMetrics(): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })

  const counter = <T extends string>(name: string, help: string, labelNames: T[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const histogram = <T extends string>(name: string, help: string, labelNames: T[] = []) =>
    new Histogram({ name, help, labelNames, registers, buckets: SECONDS })

  const bytes = counter('bytes_uploaded_total', 'Bytes that count, of every dialect.', ['dialect'])
  const chunks = counter('chunks_uploaded_total', 'Chunks that became whole.', ['dialect'])
  const failures = counter('chunk_upload_failures_total', 'Chunks and appends that failed.', ['dialect'])
  const bodies = counter('request_bodies_total', 'Bodies of bytes, by the way they were read.', ['way'])
  const retries = counter('retries_total', 'Requests to the storage that were tried again.', ['operation'])
  const throttled = counter('throttled_requests_total', 'Requests refused by a limit.', ['reason'])
  const created = counter('uploads_created_total', 'Uploads created.', ['dialect'])
  const completed = counter('uploads_completed_total', 'Uploads completed.', ['dialect'])
  const expired = counter('uploads_expired_total', 'Unfinished uploads that expired.')
  const update = histogram('db_update_latency_seconds', 'Time of a commit in the ledger.')
  const puts = histogram('s3_put_latency_seconds', 'Time of a write to S3.')
  const requests = histogram('http_request_duration_seconds', 'Time of a request.', [
    'method',
    'route',
    'status_code',
  ])
  return {
    meter: {
      bytesStored: (count, dialect) => bytes.inc({ dialect }, count),
      chunkStored: (dialect) => chunks.inc({ dialect }),
      bodyOpened: (way) => bodies.inc({ way }),
      chunkFailed: (dialect) => failures.inc({ dialect }),
      uploadCreated: (dialect) => created.inc({ dialect }),
      uploadCompleted: (dialect) => completed.inc({ dialect }),
      uploadExpired: () => expired.inc(),
      throttled: (reason) => throttled.inc({ reason }),
      ledgerUpdate: (seconds) => update.observe(seconds),
      storeRetried: (operation) => retries.inc({ operation }),
      storePut: (seconds) => puts.observe(seconds),
    },
    observeRequest: (method, route, status, seconds) =>
      requests.observe(
        { method: METHODS.has(method) ? method : 'OTHER', route, status_code: status },
        seconds,
      ),
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
  }
}
