import { describe, expect, onTestFinished, test } from 'vitest'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { findPostgres } from '../support/postgres.ts'
import { spawnServer, type ServerProcess } from '../support/process.ts'

const postgres = await findPostgres()
const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** Starts processes on one empty database and one folder. */
async function useNodes(): Promise<() => Promise<ServerProcess>> {
  const [url, root] = [await postgres.database(), await useFolder()]
  return async () => {
    const node = await spawnServer(root, { DATABASE_URL: url, LOG_LEVEL: 'error' })
    onTestFinished(() => void node.child.kill('SIGKILL'))
    return node
  }
}

/** @returns the upload, or the status of a refusal */
const init = async (node: ServerProcess, key: string, name = 'a'): Promise<string | number> => {
  const { status, json } = await clientOf(node.url)('POST', '/v1/uploads/init', {
    headers: { 'Idempotency-Key': key },
    body: { file_name: name, file_size: 1 },
  })
  return status === 201 ? (json.upload_id as string) : status
}
const list = async (node: ServerProcess): Promise<string[]> =>
  (await clientOf(node.url)('GET', '/v1/uploads?limit=1000')).json.uploads.map(
    (upload: { upload_id: string }) => upload.upload_id,
  )

describe.skipIf(!postgres.available)('two processes on one database', () => {
  test('of inits with one key at the same time on both exactly one creates, and the others get its upload', async () => {
    const start = await useNodes()
    const [one, two] = await Promise.all([start(), start()])
    const made = new Set<string>()
    for (const round of range(25)) {
      const answers = await Promise.all([one, two, one, two].map((node) => init(node, `same ${round}`)))
      expect({ round, different: new Set(answers).size }).toEqual({ round, different: 1 })
      made.add(String(answers[0]))

      const rivals = await Promise.all([init(one, `other ${round}`, 'a'), init(two, `other ${round}`, 'b')])
      const [created, refused] = rivals[0] === 409 ? rivals.toReversed() : rivals
      expect({ round, refused }).toEqual({ round, refused: 409 })
      made.add(String(created))
    }
    expect(new Set(await list(two))).toEqual(made)
    expect(made.size).toBe(50)
  })

  test('kill -9 among keyed inits leaves each key with one upload, the one that was answered', async () => {
    const start = await useNodes()
    const [survivor, first] = await Promise.all([start(), start()])
    const keys = range(80).map((i) => `key ${i}`)
    const answered = new Map<string, string | number>()
    let victim = first
    for (const round of range(3)) {
      let killed: Promise<unknown> | undefined
      await Promise.all(
        keys
          .filter((_, i) => i % 3 === round)
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
})
