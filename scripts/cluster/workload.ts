import { Upload } from 'tus-js-client'
import { newClient, type Client } from '../load-test/client.ts'
import { native, tus, type Dialect } from '../load-test/dialects.ts'
import { downloadedSha256 } from '../load-test/download.ts'
import { newPayload, type Payload } from '../load-test/payload.ts'
import { newTally, type Tally } from '../load-test/tally.ts'

export interface WorkloadOptions {
  baseUrl: string
  apiKey: string
  /** no file is begun after so long; those under way are finished */
  forMs: number
  concurrentFiles: number
  fileSizes: readonly number[]
  chunkSizeBytes: number
}

export interface WorkloadResult {
  files: Record<Kind, number>
  bytes: number
  retries: number
  throttled: number
  /** files that could not be uploaded, or that came down other than they went up */
  lost: string[]
}

const KINDS = ['native', 'tus', 'tus-js-client'] as const
export type Kind = (typeof KINDS)[number]

const DOWNLOAD_TRIES = 20

/**
 * Uploads files of every size by every kind of client in turn, many at a time, and compares each with its
 * download. What fails on the way is tried again as clients do; what is wrong in the end is told.
 */
export async function runWorkload(options: WorkloadOptions): Promise<WorkloadResult> {
  const tally = newTally()
  const files: Record<Kind, number> = { native: 0, tus: 0, 'tus-js-client': 0 }
  const deadline = performance.now() + options.forMs
  const client = newClient({ ...options, sockets: options.concurrentFiles * 4, maxRetries: 60 }, tally)
  const jobs = options.fileSizes.map((size) => jobOf(options, size, client, tally))
  let next = 0

  const worker = async (): Promise<void> => {
    while (performance.now() < deadline) {
      const file = next++
      const kind = KINDS[file % KINDS.length] as Kind
      const job = jobs[Math.floor(file / KINDS.length) % jobs.length] as Job
      try {
        const id = await job.upload[kind](file)
        const got = await downloadedSha256(client, id, DOWNLOAD_TRIES)
        if (got !== job.payload.sha256(file)) throw new Error(`${id} came down with other bytes`)
        files[kind] += 1
      } catch (error) {
        tally.failures.push(`file ${file} by ${kind}: ${(error as Error).message}`)
      }
    }
  }
  await Promise.all(Array.from({ length: options.concurrentFiles }, worker))
  client.close()
  const { bytes, retries, throttled, failures } = tally
  return { files, bytes, retries, throttled, lost: failures }
}

interface Job {
  payload: Payload
  upload: Record<Kind, Dialect>
}

function jobOf(
  { baseUrl, apiKey, chunkSizeBytes }: WorkloadOptions,
  fileSizeBytes: number,
  client: Client,
  tally: Tally,
): Job {
  const payload = newPayload(fileSizeBytes, chunkSizeBytes)
  const options = { baseUrl, fileSizeBytes, chunkSizeBytes, chunkWorkers: 3, chunkSha256: true }
  const upload = { options, client, payload, tally, prefix: '' }
  return {
    payload,
    upload: {
      native: native(upload),
      tus: tus(upload),
      'tus-js-client': (file) => byTusJsClient(baseUrl, apiKey, contentOf(payload, file, options), tally),
    },
  }
}

function contentOf(
  payload: Payload,
  file: number,
  { fileSizeBytes, chunkSizeBytes }: { fileSizeBytes: number; chunkSizeBytes: number },
): Buffer {
  const pieces: Buffer[] = []
  for (let at = 0; at < fileSizeBytes; at += chunkSizeBytes) pieces.push(payload.rest(file, at))
  return Buffer.concat(pieces)
}

/** As an application uses it, with the library's own retries. @returns the upload's id */
function byTusJsClient(baseUrl: string, apiKey: string, bytes: Buffer, tally: Tally): Promise<string> {
  return new Promise((resolve, reject) => {
    const upload = new Upload(bytes, {
      endpoint: `${baseUrl}/files`,
      headers: { 'X-API-Key': apiKey },
      metadata: { filename: 'cluster.bin' },
      onError: reject,
      onSuccess: () => {
        tally.bytes += bytes.length
        resolve(upload.url?.split('/').at(-1) ?? '')
      },
    })
    upload.start()
  })
}
