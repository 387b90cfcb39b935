import { setImmediate } from 'node:timers/promises'
import * as fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { createPartBuffers, type Share } from '../../src/stores/s3/part-buffers.ts'

const KIB = 1024

/** @returns whether the growth was granted, now or by the time that everything else has run */
async function isGranted(growing: Promise<void> | undefined): Promise<boolean> {
  if (growing === undefined) return true
  let granted = false
  void growing.then(() => (granted = true))
  await setImmediate()
  return granted
}

describe('memory for parts', () => {
  it('is granted at once while everybody can have all that they need', () => {
    const buffers = createPartBuffers(100)
    const [a, b] = [buffers.open(50), buffers.open(50)]
    expect([a.grow(30), b.grow(50), a.grow(20)]).toEqual([undefined, undefined, undefined])
    expect(buffers.heldBytes()).toBe(100)
  })

  it('is held by what has come, not by what may come', () => {
    const buffers = createPartBuffers(100)
    const slow = Array.from({ length: 50 }, () => buffers.open(50))
    for (const share of slow) expect(share.grow(1)).toBeUndefined()
    expect(buffers.heldBytes()).toBe(50)
  })

  it('is not granted where everybody would have to wait for everybody', async () => {
    const buffers = createPartBuffers(100)
    const [a, b] = [buffers.open(60), buffers.open(70)]
    expect([a.grow(40), b.grow(30)]).toEqual([undefined, undefined])
    // 30 are left. With 15 of them b would lack 25 and a 20: neither could ever end.
    const waits = b.grow(15)
    expect(await isGranted(waits)).toBe(false)
    expect(a.grow(20)).toBeUndefined()
    expect(await isGranted(waits)).toBe(false)
    a.release()
    expect(await isGranted(waits)).toBe(true)
  })

  it('that comes back goes to those who wait, in their order', async () => {
    const buffers = createPartBuffers(100)
    const all = buffers.open(100)
    expect(all.grow(100)).toBeUndefined()
    const order: number[] = []
    const waiting = [0, 1, 2].map(async (i) => {
      const share = buffers.open(60)
      await share.grow(60)
      order.push(i)
      share.release()
    })
    all.release()
    await Promise.all(waiting)
    expect(order).toEqual([0, 1, 2])
    expect(buffers.heldBytes()).toBe(0)
  })

  it('goes past one who can not be served yet', async () => {
    const buffers = createPartBuffers(100)
    const [a, b] = [buffers.open(80), buffers.open(20)]
    expect([a.grow(80), b.grow(20)]).toEqual([undefined, undefined])
    const [large, small] = [buffers.open(90), buffers.open(10)]
    const [largeWaits, smallWaits] = [large.grow(90), small.grow(10)]
    b.release()
    expect([await isGranted(smallWaits), await isGranted(largeWaits)]).toEqual([true, false])
    a.release()
    small.release()
    expect(await isGranted(largeWaits)).toBe(true)
  })

  it('of more than there is at all is refused, and so is more than one said to need', () => {
    const buffers = createPartBuffers(100)
    expect(() => buffers.open(101)).toThrow('more than there is memory for')
    expect(() => buffers.open(10).grow(11)).toThrow('more than was said')
  })

  it('that was given back stays given back', () => {
    const buffers = createPartBuffers(100)
    const [a, b] = [buffers.open(100), buffers.open(100)]
    void a.grow(60)
    a.release()
    a.release()
    expect(buffers.heldBytes()).toBe(0)
    expect(b.grow(100)).toBeUndefined()
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
    const buffers = createPartBuffers(100)
    const slow = buffers.open(100)
    void slow.grow(60)
    const pressed = pressable(slow)
    vi.advanceTimersByTime(60_000)
    expect(pressed).not.toHaveBeenCalled()
    void buffers.open(100).grow(60)
    vi.advanceTimersByTime(500)
    expect(pressed).toHaveBeenCalledOnce()
    slow.shrink(60)
  })

  it('is one that brings a few bytes now and then, but none that brings many', () => {
    const buffers = createPartBuffers(2000 * KIB)
    const [fast, slow] = [buffers.open(1990 * KIB), buffers.open(1990 * KIB)]
    void fast.grow(100 * KIB)
    void slow.grow(100 * KIB)
    const [fastPressed, slowPressed] = [pressable(fast), pressable(slow)]
    const waiting = buffers.open(2000 * KIB)
    void waiting.grow(1900 * KIB)
    for (let second = 0; second < 4; second++) {
      void fast.grow(300 * KIB)
      void slow.grow(1)
      vi.advanceTimersByTime(1000)
    }
    expect(slowPressed).toHaveBeenCalled()
    expect(fastPressed).not.toHaveBeenCalled()
  })

  it('that can not give way just now is left alone', () => {
    const buffers = createPartBuffers(100)
    const slow = buffers.open(100)
    void slow.grow(60)
    const pressed = pressable(slow)
    slow.onPressed(null)
    void buffers.open(100).grow(60)
    vi.advanceTimersByTime(60_000)
    expect(pressed).not.toHaveBeenCalled()
  })

  it('gives way alone when that is enough, the largest first', () => {
    const buffers = createPartBuffers(1000 * KIB)
    const shares = [100, 500, 300].map((kib) => {
      const share = buffers.open((kib + 50) * KIB)
      void share.grow(kib * KIB)
      return share
    })
    const pressed = shares.map(pressable)
    vi.advanceTimersByTime(5000)
    void buffers.open(400 * KIB).grow(400 * KIB)
    vi.advanceTimersByTime(300)
    expect(pressed.map(({ mock }) => mock.calls.length)).toEqual([0, 1, 0])
  })
})

describe('whatever order things come in', () => {
  /** Writers with their needs, and how each grows: at the end of it, it gives everything back. */
  const writers = (budget: number) =>
    fc.array(
      fc.record({
        need: fc.integer({ min: 1, max: budget }),
        steps: fc.array(fc.integer({ min: 1, max: budget }), { minLength: 1, maxLength: 8 }),
        /** gives back in the middle what it holds */
        giveWayAfter: fc.option(fc.nat(7)),
      }),
      { minLength: 1, maxLength: 12 },
    )

  it('nobody waits for ever, and no more is held than there is', async () => {
    const budget = 1000
    const property = fc.asyncProperty(fc.scheduler(), writers(budget), async (scheduler, all) => {
      const buffers = createPartBuffers(budget)
      const check = () => expect(buffers.heldBytes()).toBeLessThanOrEqual(budget)
      const done: number[] = []
      all.forEach(({ need, steps, giveWayAfter }, i) => {
        const share = buffers.open(need)
        const write = async () => {
          let held = 0
          for (const [at, step] of steps.entries()) {
            await scheduler.schedule(Promise.resolve(), `writer ${i} goes on`)
            const bytes = Math.min(step, need - held)
            await share.grow(bytes)
            held += bytes
            check()
            if (at === giveWayAfter) {
              share.shrink(held)
              held = 0
            }
          }
          // In the end every one has all that it needs, as a part does that is complete.
          await share.grow(need - held)
          check()
          await scheduler.schedule(Promise.resolve(), `writer ${i} has ended`)
          share.release()
          done.push(i)
        }
        void write()
      })
      await scheduler.waitIdle()
      expect(done).toHaveLength(all.length)
      expect(buffers.heldBytes()).toBe(0)
    })
    await fc.assert(property, { numRuns: 300 })
  })
})
