import { expect, test, vi } from 'vitest'
import type { Turn } from '../../src/core/ports/body.ts'
import type { ChunkStore, Write, Written } from '../../src/core/ports/store.ts'
import type { Upload } from '../../src/core/upload.ts'
import { timedStore } from '../../src/observe/timed-ports.ts'
import { tracedStore } from '../../src/observe/traced-ports.ts'
import type { BeginStep } from '../../src/observe/tracing.ts'

interface Told {
  name: string
  notes: Record<string, unknown>
  ended: number
  failure: unknown
}

/** Steps that tell what became of them. */
function steps(): { begin: BeginStep; told: Told[] } {
  const told: Told[] = []
  const begin: BeginStep = (name, attributes) => {
    const step: Told = { name, notes: { ...attributes }, ended: 0, failure: undefined }
    told.push(step)
    return {
      note: (more) => void Object.assign(step.notes, more),
      run: (work) => work(),
      end(failure) {
        step.ended += 1
        step.failure = failure
      },
    }
  }
  return { begin, told }
}

const upload = {} as Upload
const RANGE = { start: 0, end: 10 }

const storeOf = (parts: Partial<ChunkStore>): ChunkStore => ({ name: 'local', ...parts }) as ChunkStore

test('who gives a read up while its next bytes are awaited does not wait for them', async () => {
  const { begin, told } = steps()
  let returned = 0
  const read = () => ({
    [Symbol.asyncIterator]: () => ({
      next: () => new Promise<IteratorResult<Uint8Array>>(() => {}),
      async return() {
        returned += 1
        return { done: true as const, value: undefined }
      },
    }),
  })
  const chunks = tracedStore(storeOf({ read }), begin).read(upload, RANGE)[Symbol.asyncIterator]()
  void chunks.next()
  await chunks.return?.()
  expect(returned).toBe(1)
  expect(told).toMatchObject([{ name: 'store.read', ended: 1, notes: { bytes: 0 } }])
})

test('a read that breaks gives out what came, and its step ends once, with the reason', async () => {
  const { begin, told } = steps()
  const broken = new Error('the disk is away')
  async function* read() {
    yield Buffer.from('hello')
    throw broken
  }
  const got: string[] = []
  const reading = async () => {
    for await (const bytes of tracedStore(storeOf({ read }), begin).read(upload, RANGE))
      got.push(Buffer.from(bytes).toString())
  }
  await expect(reading()).rejects.toBe(broken)
  expect(got).toEqual(['hello'])
  expect(told).toMatchObject([{ ended: 1, failure: broken, notes: { bytes: 5, start: 0, end: 10 } }])
})

test('where nothing is recorded the store is asked as if there were no traces', () => {
  const source = (async function* () {})()
  const store = tracedStore(storeOf({ read: () => source }), () => null)
  expect(store.read(upload, RANGE)).toBe(source)
})

test('what a store does not offer it does not offer traced, either', () => {
  const { begin } = steps()
  const store = tracedStore(storeOf({}), begin)
  expect([store.finalize, store.presign, store.discard]).toEqual([undefined, undefined, undefined])
})

test('a free worker costs a traced write no promise, and a busy one is waited for', async () => {
  const { begin, told } = steps()
  const entered: unknown[] = []
  const writeAt = async ({ turn }: Write) => {
    entered.push(turn.enter())
    await turn.enter()
    turn.leave()
    return { bytes: 3, failure: null }
  }
  let calls = 0
  let left = 0
  const turn: Turn = {
    enter: () => (calls++ === 0 ? undefined : Promise.resolve()),
    leave: () => (left += 1),
  }
  const write = { upload, position: 7, length: 3, turn, body: { cause: null } } as unknown as Write
  expect(await tracedStore(storeOf({ writeAt }), begin).writeAt(write)).toEqual({ bytes: 3, failure: null })
  expect(entered).toEqual([undefined])
  expect([calls, left]).toEqual([2, 1])
  expect(told).toMatchObject([{ notes: { position: 7, bytes: 3, retries: 0 }, ended: 1 }])
})

test('a write whose bytes are taken before they are in place is timed and traced until they are', async () => {
  const { begin, told } = steps()
  const times: unknown[] = []
  let place = (_written: Written) => {}
  const written = new Promise<Written>((resolve) => (place = resolve))
  const ahead = { cells: 2, takeAt: async () => ({ bytes: 3, written }) }
  const timed = timedStore(storeOf({ ahead }), (name, operation, _seconds, failed) =>
    times.push([name, operation, failed]),
  )
  const store = tracedStore(timed, begin)
  expect(store.ahead?.cells).toBe(2)
  const write = { upload, position: 7, length: 3, body: { cause: null } } as unknown as Write
  const taken = await store.ahead?.takeAt(write)
  expect(taken?.bytes).toBe(3)
  expect([times, told.map(({ ended }) => ended)]).toEqual([[], [0]])
  const failure = new Error('the bucket is away')
  place({ bytes: 0, failure })
  expect(await taken?.written).toEqual({ bytes: 0, failure })
  await vi.waitFor(() => expect(times).toEqual([['local', 'write', true]]))
  expect(told).toMatchObject([{ name: 'store.write', notes: { position: 7, bytes: 0 }, ended: 1, failure }])
})
