import { expect, test } from 'vitest'
import { useNodes, type Node, type Site } from '../support/nodes.ts'

const FITS = 50
const SIZE = 1_000

/** @returns null when there was no answer */
const create = ({ call }: Node): Promise<number | null> =>
  call('POST', '/v1/uploads/init', { body: { file_name: 'a', file_size: SIZE } }).then(
    ({ status }) => status,
    () => null,
  )
const list = async ({ call }: Node): Promise<string[]> =>
  (await call('GET', '/v1/uploads?limit=1000')).json.uploads.map(
    (upload: { upload_id: string }) => upload.upload_id,
  )

/** A quota that two processes share. */
export function keepsQuotaTogether(site: Site): void {
  test('two processes never give out more than fits, nor less, though one is killed with -9 and another comes up', async () => {
    const quota = { MAX_BYTES_PER_USER: String(FITS * SIZE + SIZE - 1) }
    const { a: survivor, b: victim, start } = await useNodes(site, quota)
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

    for (const id of made.slice(0, 7)) await newcomer.call('DELETE', `/v1/uploads/${id}`)
    const last = await Promise.all(Array.from({ length: 20 }, (_, i) => create(i % 2 ? survivor : newcomer)))
    expect(last.filter((status) => status === 201)).toHaveLength(7)
    expect(await list(newcomer)).toHaveLength(FITS)
  })
}
