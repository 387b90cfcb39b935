import type { Client } from '../load-test/client.ts'
import { native, tus, type Dialect } from '../load-test/dialects.ts'
import { downloadedSha256 } from '../load-test/download.ts'
import { newPayload, type Payload } from '../load-test/payload.ts'
import type { Tally } from '../load-test/tally.ts'
import { crossing } from './crossing.ts'

export interface WorkloadOptions {
  baseUrl: string
  forMs: number
  /** uploads at a time */
  files: number
  fileSizes: readonly number[]
  /** at which the server cuts, and the clients as well */
  chunkSizeBytes: number
  /** complete files beyond these bytes are verified and deleted, the oldest first */
  keptBytes: number
  random: () => number
}

const KINDS = ['native', 'tus', 'crossing'] as const
type Kind = (typeof KINDS)[number]

export interface Work {
  files: Record<Kind, number>
  deleted: number
  verified: number
  /** uploads that could not be brought to an end, files that came down otherwise, deleted ones that are there */
  lost: string[]
}

interface Kept {
  id: string
  file: number
  payload: Payload
  bytes: number
}

interface Job {
  bytes: number
  payload: Payload
  upload: Record<Kind, Dialect>
}

const DOWNLOAD_TRIES = 200

/** Uploads until the time is over; `verifyAll` then compares everything that is still there. */
export function createWorkload(options: WorkloadOptions, client: Client, tally: Tally) {
  const { random, keptBytes } = options
  const work: Work = { files: { native: 0, tus: 0, crossing: 0 }, deleted: 0, verified: 0, lost: [] }
  const jobs = options.fileSizes.map((bytes) => jobOf(options, bytes, client, tally))
  const kept: Kept[] = []
  let next = 0

  const oneOf = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T

  async function verify({ id, file, payload }: Kept): Promise<void> {
    const got = await downloadedSha256(client, id, DOWNLOAD_TRIES)
    if (got !== payload.sha256(file)) throw new Error(`${id} came down with other bytes`)
    work.verified += 1
  }

  async function remove({ id }: Kept): Promise<void> {
    const path = `/v1/uploads/${id}`
    await client.persist(async (afterFailure) => {
      const answer = await client.send({ method: 'DELETE', path })
      // Deleted already, and only the answer was lost.
      return afterFailure && answer.status === 404 ? { ...answer, status: 204 } : answer
    })
    work.deleted += 1
  }

  async function makeRoom(): Promise<void> {
    while (kept.reduce((sum, { bytes }) => sum + bytes, 0) > keptBytes) {
      const oldest = kept.shift()
      if (!oldest) return
      await verify(oldest)
      await remove(oldest)
    }
  }

  async function uploadOne(): Promise<void> {
    const file = next++
    const job = oneOf(jobs)
    const kind = oneOf(KINDS)
    try {
      const id = await job.upload[kind](file)
      work.files[kind] += 1
      kept.push({ id, file, payload: job.payload, bytes: job.bytes })
      await makeRoom()
    } catch (error) {
      work.lost.push(`file ${file} of ${job.bytes} bytes by ${kind}: ${(error as Error).message}`)
    }
  }

  return {
    work,
    async run(): Promise<void> {
      const deadline = performance.now() + options.forMs
      const worker = async () => {
        while (performance.now() < deadline) await uploadOne()
      }
      await Promise.all(Array.from({ length: options.files }, worker))
    },
    async verifyAll(): Promise<void> {
      for (const file of kept)
        await verify(file).catch((error: unknown) => work.lost.push((error as Error).message))
    },
  }
}

function jobOf(
  { baseUrl, chunkSizeBytes }: WorkloadOptions,
  fileSizeBytes: number,
  client: Client,
  tally: Tally,
): Job {
  const payload = newPayload(fileSizeBytes, chunkSizeBytes)
  const options = { baseUrl, fileSizeBytes, chunkSizeBytes, chunkWorkers: 3, chunkSha256: true }
  const upload = { options, client, payload, tally, prefix: '' }
  return {
    bytes: fileSizeBytes,
    payload,
    upload: {
      native: native(upload),
      tus: tus(upload),
      crossing: crossing({ client, payload, tally, fileSizeBytes, chunkSizeBytes }),
    },
  }
}
