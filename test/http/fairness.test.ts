import { expect, test } from 'vitest'
import { clientOf } from '../support/client.ts'
import { useCountedServer, type CountedServer } from '../support/counted-server.ts'
import { eventually } from '../support/slow-request.ts'

const SMALL = Array.from({ length: 10 }, (_, at) => `small ${at}`)
const CHUNKS_OF_SMALL = 20
const PARALLEL_OF_BIG = 64
const WORKERS = 2
const CHUNK = 16 * 1024

const initiate = async (url: string, user: string, chunks: number): Promise<string> => {
  const body = { file_name: 'a', file_size: chunks * CHUNK, chunk_size: CHUNK }
  return (await clientOf(url, user)('POST', '/v1/uploads/init', { body })).json.upload_id
}

const putChunk = async (url: string, user: string, id: string, index: number) => {
  const body = Buffer.alloc(CHUNK)
  const { status } = await clientOf(url, user)('PUT', `/v1/uploads/${id}/chunks/${index}`, { body })
  expect(status).toBe(202)
}

/** Every small client sends its chunks one behind the other. */
async function smallOnes({ url }: CountedServer): Promise<void> {
  await Promise.all(
    SMALL.map(async (user) => {
      const id = await initiate(url, user, CHUNKS_OF_SMALL)
      for (let index = 0; index < CHUNKS_OF_SMALL; index++) await putChunk(url, user, id, index)
    }),
  )
}

/** Keeps 64 chunks of one upload on their way. @returns what stops it */
async function bigOne({ url }: CountedServer): Promise<() => Promise<unknown>> {
  const id = await initiate(url, 'big', 5000)
  let next = 0
  let stopped = false
  const senders = Array.from({ length: PARALLEL_OF_BIG }, async () => {
    while (!stopped && next < 5000) await putChunk(url, 'big', id, next++)
  })
  return () => {
    stopped = true
    return Promise.all(senders)
  }
}

test('a client of 64 parallel chunks takes a turn of each round from ten small ones, and not 64', async () => {
  const limits = {
    workerCount: WORKERS,
    maxFairInflightChunksPerUpload: 0,
    taskQueueMaxsize: 1000,
    maxGlobalInflightChunks: 1000,
    maxInflightChunksPerUpload: PARALLEL_OF_BIG,
  }
  const users = [...SMALL, 'big']
  const server = await useCountedServer(limits, users)
  const stop = await bigOne(server)
  await eventually(() => server.waits('big').length > PARALLEL_OF_BIG, 'the big one is at work')
  await smallOnes(server)
  await stop()

  const longest = (waits: number[]) => Math.max(...waits)
  expect(longest(server.waits('big'))).toBeGreaterThan(PARALLEL_OF_BIG / 2)
  const waits = SMALL.flatMap((user) => server.waits(user))
  expect(waits).toHaveLength(SMALL.length * CHUNKS_OF_SMALL)
  // Each of the other owners has one turn before it, as alone; and what was given out is under way.
  expect(longest(waits)).toBeLessThanOrEqual(users.length - 1 + WORKERS)
})
