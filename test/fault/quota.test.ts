import { describe, expect, onTestFinished, test } from 'vitest'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { findPostgres } from '../support/postgres.ts'
import { spawnServer, type ServerProcess } from '../support/process.ts'

const postgres = await findPostgres()
const FITS = 50
const SIZE = 1_000

const create = async (node: ServerProcess): Promise<number | null> => {
  const body = { file_name: 'a', file_size: SIZE }
  const answer = clientOf(node.url)('POST', '/v1/uploads/init', { body })
  return answer.then(
    ({ status }) => status,
    () => null,
  )
}
const list = async (node: ServerProcess): Promise<string[]> =>
  (await clientOf(node.url)('GET', '/v1/uploads?limit=1000')).json.uploads.map(
    (upload: { upload_id: string }) => upload.upload_id,
  )

describe.skipIf(!postgres.available)('two processes with a quota on one database', () => {
  test('never give out more than fits, nor less, though one is killed with -9 and another comes up meanwhile', async () => {
    const [url, root] = [await postgres.database(), await useFolder()]
    const start = async () => {
      const node = await spawnServer(root, {
        DATABASE_URL: url,
        LOG_LEVEL: 'error',
        MAX_BYTES_PER_USER: String(FITS * SIZE + SIZE - 1),
      })
      onTestFinished(() => void node.child.kill('SIGKILL'))
      return node
    }
    const [survivor, victim] = await Promise.all([start(), start()])
    let answered = 0
    let killed: Promise<unknown> | undefined
    const statuses = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => {
        const status = await create(i % 2 ? survivor : victim)
        if (++answered === 8) killed = victim.signal('SIGKILL')
        return status
      }),
    )
    await killed
    const made = await list(survivor)
    expect(statuses).toContain(null)
    expect(made.length).toBeGreaterThanOrEqual(statuses.filter((status) => status === 201).length)

    // What the dead one had under way counts if it is there, and does not if it is not.
    const [newcomer, ...more] = await Promise.all([
      start(),
      ...Array.from({ length: 40 }, () => create(survivor)),
    ])
    expect(new Set(more)).toEqual(new Set([201, 413]))
    expect(await list(survivor)).toHaveLength(FITS)

    for (const id of made.slice(0, 7)) await clientOf(newcomer.url)('DELETE', `/v1/uploads/${id}`)
    const last = await Promise.all(Array.from({ length: 20 }, (_, i) => create(i % 2 ? survivor : newcomer)))
    expect(last.filter((status) => status === 201)).toHaveLength(7)
    expect(await list(newcomer)).toHaveLength(FITS)
  })
})
