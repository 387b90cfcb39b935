import { setImmediate } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createCellMemory } from '../../src/stores/s3/cell-memory.ts'
import {
  createPartBuffers,
  SLAB_BYTES,
  type PartBuffers,
  type Share,
} from '../../src/stores/s3/part-buffers.ts'
import { bytesOf } from '../support/bytes.ts'

/** Memory of so many slabs, and its sizes in slabs. */
const slabs = (count: number) => createPartBuffers(count * SLAB_BYTES)
const opened = (buffers: PartBuffers, need: number) => buffers.open(need * SLAB_BYTES)
const heldBy = (buffers: PartBuffers) => buffers.heldBytes() / SLAB_BYTES

/** Takes so many, all of which must be there at once. */
function taken(share: Share, count: number): Uint8Array[] {
  return Array.from({ length: count }, () => {
    const slab = share.take()
    if (!(slab instanceof Uint8Array)) throw new Error('it has to be waited for')
    return slab
  })
}

async function isGranted(taking: Uint8Array | Promise<Uint8Array>): Promise<boolean> {
  if (taking instanceof Uint8Array) return true
  let granted = false
  void taking.then(() => (granted = true))
  await setImmediate()
  return granted
}

describe('memory for parts', () => {
  it('is granted at once while everybody can have all that they need', () => {
    const buffers = slabs(10)
    const [a, b] = [opened(buffers, 5), opened(buffers, 5)]
    expect(new Set([...taken(a, 3), ...taken(b, 5), ...taken(a, 2)]).size).toBe(10)
    expect(heldBy(buffers)).toBe(10)
  })

  it('is held by what has come, not by what may come', () => {
    const buffers = slabs(100)
    for (let i = 0; i < 50; i++) taken(opened(buffers, 50), 1)
    expect(heldBy(buffers)).toBe(50)
  })

  it('is not granted where everybody would have to wait for everybody', async () => {
    const buffers = slabs(10)
    const [a, b] = [opened(buffers, 6), opened(buffers, 7)]
    taken(a, 4)
    taken(b, 4)
    // 2 are left. With one of them b would lack 2 and a 2, and one would be left: neither could ever end.
    const waits = b.take()
    expect(await isGranted(waits)).toBe(false)
    taken(a, 2)
    expect(await isGranted(waits)).toBe(false)
    a.release()
    expect(await isGranted(waits)).toBe(true)
  })

  it('that comes back goes to those who wait, in their order', async () => {
    const buffers = slabs(4)
    const all = opened(buffers, 4)
    taken(all, 4)
    const order: number[] = []
    const waiting = [0, 1, 2].map(async (i) => {
      const share = opened(buffers, 3)
      for (let n = 0; n < 3; n++) await share.take()
      order.push(i)
      share.release()
    })
    all.release()
    await Promise.all(waiting)
    expect([order, heldBy(buffers)]).toEqual([[0, 1, 2], 0])
  })

  it('goes past one who can not be served yet', async () => {
    const buffers = slabs(10)
    const [a, b] = [opened(buffers, 10), opened(buffers, 3)]
    taken(a, 7)
    taken(b, 3)
    const [large, small] = [opened(buffers, 9), opened(buffers, 1)]
    const [largeWaits, smallWaits] = [large.take(), small.take()]
    expect([await isGranted(largeWaits), await isGranted(smallWaits)]).toEqual([false, false])
    // 3 come back: a needs them to end, and gets them also when small had one of them before.
    b.release()
    expect([await isGranted(smallWaits), await isGranted(largeWaits)]).toEqual([true, false])
    a.release()
    expect(await isGranted(largeWaits)).toBe(true)
  })

  it('of more than there is at all is refused, and so is more than one said to need', () => {
    const buffers = slabs(3)
    expect(buffers.maxBytes).toBe(3 * SLAB_BYTES)
    expect(() => buffers.open(3 * SLAB_BYTES + 1)).toThrow('more than there is memory for')
    const share = buffers.open(SLAB_BYTES - 1)
    taken(share, 1)
    expect(() => share.take()).toThrow('more memory than was said')
  })

  it('that was given back is used again, and given back once only', () => {
    const buffers = slabs(2)
    const [a, b] = [opened(buffers, 2), opened(buffers, 2)]
    const first = taken(a, 2)
    a.release()
    a.release()
    expect(heldBy(buffers)).toBe(0)
    expect(new Set(taken(b, 2))).toEqual(new Set(first))
    expect(() => b.giveBack([new Uint8Array(1)])).toThrow('somebody else')
  })
})

describe('a writer that hardly gets on', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  const pressable = (share: Share) => {
    const pressed = vi.fn<() => void>()
    share.onPressed(pressed)
    return pressed
  }

  it('is asked to give way when others wait, and not before', () => {
    const buffers = slabs(10)
    const slow = opened(buffers, 10)
    taken(slow, 6)
    const pressed = pressable(slow)
    vi.advanceTimersByTime(60_000)
    expect(pressed).not.toHaveBeenCalled()
    void opened(buffers, 10).take()
    vi.advanceTimersByTime(500)
    expect(pressed).toHaveBeenCalledOnce()
  })

  it('is not one that takes a slab now and then', () => {
    const buffers = slabs(20)
    const [steady, slow] = [opened(buffers, 6), opened(buffers, 15)]
    taken(steady, 1)
    taken(slow, 5)
    const [steadyPressed, slowPressed] = [pressable(steady), pressable(slow)]
    const third = opened(buffers, 20)
    while (third.take() instanceof Uint8Array);
    for (let second = 0; second < 8; second += 2) {
      taken(steady, 1)
      vi.advanceTimersByTime(2000)
    }
    expect(slowPressed).toHaveBeenCalled()
    expect(steadyPressed).not.toHaveBeenCalled()
  })

  it('that can not give way just now is left alone', () => {
    const buffers = slabs(10)
    const slow = opened(buffers, 10)
    taken(slow, 6)
    const pressed = pressable(slow)
    slow.onPressed(null)
    void opened(buffers, 10).take()
    vi.advanceTimersByTime(60_000)
    expect(pressed).not.toHaveBeenCalled()
  })

  it('gives way alone when that is enough, the largest first', () => {
    const buffers = slabs(10)
    const shares = [1, 5, 3].map((count) => {
      const share = opened(buffers, count + 1)
      taken(share, count)
      return share
    })
    const pressed = shares.map(pressable)
    const waiting = opened(buffers, 4)
    vi.advanceTimersByTime(5000)
    expect(waiting.take()).toBeInstanceOf(Promise)
    vi.advanceTimersByTime(300)
    expect(pressed.map(({ mock }) => mock.calls.length)).toEqual([0, 1, 0])
  })
})

describe('whatever order things come in', () => {
  /** Writers with what they need; some give back in the middle what they hold, and take it again. */
  const writers = (budget: number) =>
    fc.array(
      fc.record({
        need: fc.integer({ min: 1, max: budget }),
        givesWayAfter: fc.option(fc.nat(budget)),
      }),
      { minLength: 1, maxLength: 10 },
    )

  it('nobody waits for ever, and no more is held than there is', async () => {
    const budget = 8
    const property = fc.asyncProperty(fc.scheduler(), writers(budget), async (scheduler, all) => {
      const buffers = slabs(budget)
      const done: number[] = []
      const write = async ({ need, givesWayAfter }: (typeof all)[0], i: number) => {
        const share = opened(buffers, need)
        const mine: Uint8Array[] = []
        let gaveWay = false
        while (mine.length < need) {
          await scheduler.schedule(Promise.resolve(), `writer ${i} goes on`)
          mine.push(await share.take())
          expect(heldBy(buffers)).toBeLessThanOrEqual(budget)
          if (mine.length === givesWayAfter && !gaveWay) {
            gaveWay = true
            share.giveBack(mine.splice(0))
          }
        }
        await scheduler.schedule(Promise.resolve(), `writer ${i} has ended`)
        share.release()
        done.push(i)
      }
      const writing = Promise.all(all.map(write))
      await scheduler.waitIdle()
      expect(done).toHaveLength(all.length)
      expect(heldBy(buffers)).toBe(0)
      await writing
    })
    await fc.assert(property, { numRuns: 300 })
  })
})

describe('the memory of a cell', () => {
  it('gives out the bytes by their place, whatever pieces they came in and in whatever order', async () => {
    const bytes = bytesOf(5 * SLAB_BYTES + 77)
    const cuts = fc.uniqueArray(fc.nat(bytes.length - 1), { maxLength: 12 })
    const property = fc.asyncProperty(cuts, fc.infiniteStream(fc.nat()), async (places, order) => {
      const buffers = slabs(6)
      const memory = createCellMemory(buffers.open(bytes.length))
      const ends = [...places, bytes.length].toSorted((a, b) => a - b)
      const ranges = ends.map((end, i) => [ends[i - 1] ?? 0, end] as const)
      const shuffled = ranges.map((range) => ({ range, key: order.next().value as number }))
      shuffled.sort((a, b) => a.key - b.key)
      await Promise.all(shuffled.map(({ range }) => memory.write(range[0], bytes.subarray(...range))))
      expect(Buffer.concat(memory.read(0, bytes.length)).equals(bytes)).toBe(true)
      const [from = 0] = places
      expect(Buffer.concat(memory.read(from, bytes.length)).equals(bytes.subarray(from))).toBe(true)
    })
    await fc.assert(property, { numRuns: 50 })
  })

  it('takes one slab for what several write to at once while it is waited for', async () => {
    const buffers = slabs(2)
    const other = opened(buffers, 2)
    taken(other, 2)
    const memory = createCellMemory(buffers.open(2 * SLAB_BYTES))
    const writing = [memory.write(3, Buffer.from('def')), memory.write(0, Buffer.from('abc'))]
    other.release()
    await Promise.all(writing)
    expect([String(Buffer.concat(memory.read(0, 6))), heldBy(buffers)]).toEqual(['abcdef', 1])
  })

  it('holds nothing once it is cleared, and complains about bytes that are not there', async () => {
    const buffers = slabs(2)
    const memory = createCellMemory(buffers.open(2 * SLAB_BYTES))
    await memory.write(SLAB_BYTES, Buffer.from('x'))
    expect(() => memory.read(0, 5)).toThrow('missing')
    memory.clear()
    expect(heldBy(buffers)).toBe(0)
    expect(() => memory.read(SLAB_BYTES, SLAB_BYTES + 1)).toThrow('missing')
  })
})
