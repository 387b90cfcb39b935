import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import type { Answer } from '../support/client.ts'
import { bytesOf } from '../support/bytes.ts'
import { CHUNK, countedBy, useNodes, type Node, type Site } from '../support/nodes.ts'

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)
const withKey = (key: string) => ({ headers: { 'Idempotency-Key': key } })

/** @returns the upload, or the status of a refusal */
const init = async ({ call }: Node, key: string, fields: object = {}): Promise<string | number> => {
  const body = { file_name: 'a', file_size: 1, ...fields }
  const { status, json } = await call('POST', '/v1/uploads/init', { ...withKey(key), body })
  return status === 201 ? (json.upload_id as string) : status
}

const list = async ({ call }: Node): Promise<string[]> =>
  (await call('GET', '/v1/uploads?limit=1000')).json.uploads.map(
    (upload: { upload_id: string }) => upload.upload_id,
  )

/** What comes to two processes at once under one Idempotency-Key. */
export function doesOnce(site: Site): void {
  test('of inits with one key on both processes exactly one creates, and the others get its upload', async () => {
    const { a, b } = await useNodes(site)
    const made = new Set<string>()
    for (const round of range(20)) {
      const answers = await Promise.all([a, b, a, b].map((node) => init(node, `same ${round}`)))
      expect({ round, different: new Set(answers).size }).toEqual({ round, different: 1 })
      made.add(String(answers[0]))

      const rivals = await Promise.all([
        init(a, `other ${round}`, { file_name: 'a' }),
        init(b, `other ${round}`, { file_name: 'b' }),
      ])
      const [created, refused] = rivals[0] === 409 ? rivals.toReversed() : rivals
      expect({ round, refused }).toEqual({ round, refused: 409 })
      made.add(String(created))
    }
    expect(new Set(await list(b))).toEqual(made)
    expect(made.size).toBe(40)
  })

  test('chunks and complete with their keys on both processes are done once, and a key is taken on both', async () => {
    const { a, b } = await useNodes(site)
    const bytes = bytesOf(3 * CHUNK)
    const fields = { file_size: bytes.length, chunk_size: CHUNK }
    const [id, other] = [await init(a, 'init', fields), await init(b, 'other', fields)]
    const put = ({ call }: Node, index: number, key: string, upload = id) =>
      call('PUT', `/v1/uploads/${upload}/chunks/${index}`, {
        ...withKey(key),
        body: bytes.subarray(index * CHUNK, (index + 1) * CHUNK),
      })
    const complete = ({ call }: Node, upload = id) =>
      call('POST', `/v1/uploads/${upload}/complete`, withKey('complete'))
    const statuses = (answers: Answer[]) => answers.map(({ status }) => status)

    for (const index of range(3)) {
      const answers = await Promise.all([a, b, a, b].map((node) => put(node, index, `chunk ${index}`)))
      expect(statuses(answers)).toEqual([202, 202, 202, 202])
      await put(index % 2 ? a : b, index, randomUUID(), other)
    }
    expect(statuses(await Promise.all([put(a, 1, 'chunk 0'), put(b, 0, 'chunk 0', other)]))).toEqual([
      409, 409,
    ])
    expect(await countedBy([a, b], 'bytes_uploaded_total')).toBe(2 * bytes.length)

    expect(statuses(await Promise.all([a, b, a, b].map((node) => complete(node))))).toEqual([
      200, 200, 200, 200,
    ])
    expect(await countedBy([a, b], 'uploads_completed_total')).toBe(1)
    expect((await complete(b, other)).status).toBe(409)
    await a.call('DELETE', `/v1/uploads/${id}`)
    // The other process remembers whose it was, and the one that deleted it does not.
    expect(statuses([await complete(a), await complete(b), await put(b, 2, 'chunk 2')])).toEqual([
      200, 200, 202,
    ])
  })

  test('kill -9 among keyed inits leaves each key with one upload, the one that was answered', async () => {
    const { a: survivor, b, start } = await useNodes(site)
    const keys = range(60).map((i) => `key ${i}`)
    const answered = new Map<string, string | number>()
    let victim = b
    for (const round of range(2)) {
      let killed: Promise<unknown> | undefined
      await Promise.all(
        keys
          .filter((_, i) => i % 2 === round)
          .map(async (key, i) => {
            const answer = await init(victim, key).catch(() => null)
            if (answer !== null) answered.set(key, answer)
            // The others are under way.
            if (i === 3) killed = victim.signal('SIGKILL')
          }),
      )
      await killed
      victim = await start()
    }
    expect(answered.size).toBeLessThan(keys.length)

    const again = await Promise.all(keys.map((key, i) => init(i % 2 ? survivor : victim, key)))
    for (const [i, key] of keys.entries())
      if (answered.has(key)) expect([key, again[i]]).toEqual([key, answered.get(key)])
    expect(new Set(again).size).toBe(keys.length)
    // Nothing was created beside what a key stands for.
    expect(new Set(await list(survivor))).toEqual(new Set(again))
  })
}
