import { describe, expect, it } from 'vitest'
import { createGate, type GateLimits } from '../../src/admission/gate.ts'
import { HttpError, type ThrottleReason } from '../../src/core/errors.ts'
import type { Admission } from '../../src/core/ports.ts'

const ROOMY: GateLimits = {
  workerCount: 1,
  taskQueueMaxsize: 1000,
  maxGlobalInflightChunks: 1000,
  maxInflightChunksPerUpload: 1000,
}

function gateOf(limits: Partial<GateLimits> = {}) {
  const counted: ThrottleReason[] = []
  const gate = createGate({ ...ROOMY, ...limits }, { throttled: (reason) => counted.push(reason) })
  return { gate, counted }
}

/** Why a body is refused; null when it gets in. */
function refusal(admit: () => Admission): string | null {
  try {
    admit()
    return null
  } catch (error) {
    expect(error).toBeInstanceOf(HttpError)
    const { status, headers } = error as HttpError
    expect(status).toBe(429)
    expect(Number(headers['Retry-After'])).toBeGreaterThan(0)
    return headers['X-RateLimit-Reason'] ?? 'none'
  }
}

/** Lets every promise that is settled run its course. */
const settle = () => new Promise((resolve) => setImmediate(resolve))

/** One worker is busy; what enters now waits, and `serve` gives turns one by one until nobody waits. */
function busyGate() {
  const { gate } = gateOf()
  const admit = (owner: string, upload: string) => gate.admit(owner, upload)
  const blocker = admit('blocker', 'blocker')
  void blocker.enter()
  const served: string[] = []
  return {
    gate,
    wait(owner: string, upload: string, name = `${owner}/${upload}`): Admission {
      const admission = admit(owner, upload)
      const turn = admission.enter()
      if (!turn) throw new Error('there was a free worker')
      void turn.then(() => served.push(name))
      return admission
    },
    async serve(turns = gate.load().queued): Promise<string[]> {
      served.length = 0
      for (let i = 0; i < turns; i++) {
        blocker.leave()
        await settle()
      }
      return [...served]
    },
  }
}

describe('admission', () => {
  it('MAX_GLOBAL_INFLIGHT_CHUNKS bodies get in and the next is refused, until one is done', () => {
    const { gate, counted } = gateOf({ maxGlobalInflightChunks: 3 })
    const [first] = ['a', 'b', 'c'].map((upload) => gate.admit(upload, upload))
    expect(refusal(() => gate.admit('d', 'd'))).toBe('global_inflight_limit')
    expect(counted).toEqual(['global_inflight_limit'])
    first?.release()
    expect(refusal(() => gate.admit('d', 'd'))).toBeNull()
    expect(refusal(() => gate.admit('d', 'd'))).toBe('global_inflight_limit')
  })

  it('MAX_INFLIGHT_CHUNKS_PER_UPLOAD bodies of one upload get in and the next is refused; another upload gets in', () => {
    const { gate, counted } = gateOf({ maxInflightChunksPerUpload: 2 })
    const first = gate.admit('ada', 'x')
    gate.admit('ada', 'x')
    expect(refusal(() => gate.admit('ada', 'x'))).toBe('upload_inflight_limit')
    expect(counted).toEqual(['upload_inflight_limit'])
    expect(refusal(() => gate.admit('ada', 'y'))).toBeNull()
    first.release()
    expect(refusal(() => gate.admit('ada', 'x'))).toBeNull()
    expect(refusal(() => gate.admit('ada', 'x'))).toBe('upload_inflight_limit')
  })

  it('bodies are refused while TASK_QUEUE_MAXSIZE writes wait, and not while one less does', async () => {
    const { gate, counted } = gateOf({ taskQueueMaxsize: 2 })
    const writers = ['a', 'b', 'c'].map((upload) => gate.admit(upload, upload))
    const [running, second, third] = writers as [Admission, Admission, Admission]
    void running.enter()
    void second.enter()
    expect(refusal(() => gate.admit('d', 'd'))).toBeNull()
    void third.enter()
    expect(refusal(() => gate.admit('e', 'e'))).toBe('queue_full')
    expect(counted).toEqual(['queue_full'])
    running.leave()
    await settle()
    expect(refusal(() => gate.admit('e', 'e'))).toBeNull()
  })

  it('a refused body takes no place', () => {
    const { gate } = gateOf({ maxGlobalInflightChunks: 1 })
    const only = gate.admit('a', 'a')
    for (let i = 0; i < 5; i++) refusal(() => gate.admit('a', 'a'))
    expect(gate.load().inflight).toBe(1)
    only.release()
    expect(gate.load().inflight).toBe(0)
    expect(refusal(() => gate.admit('a', 'a'))).toBeNull()
  })

  it('a body that is released twice gives one place back', () => {
    const { gate } = gateOf({ maxGlobalInflightChunks: 2, maxInflightChunksPerUpload: 2 })
    const first = gate.admit('ada', 'x')
    gate.admit('ada', 'x')
    first.release()
    first.release()
    expect(gate.load().inflight).toBe(1)
    expect(refusal(() => gate.admit('ada', 'x'))).toBeNull()
    expect(refusal(() => gate.admit('ada', 'x'))).not.toBeNull()
  })

  it('a late second release takes nothing from a body that came after it', () => {
    const { gate } = gateOf({ maxInflightChunksPerUpload: 1 })
    const first = gate.admit('ada', 'x')
    first.release()
    gate.admit('ada', 'x')
    first.release()
    expect(refusal(() => gate.admit('ada', 'x'))).toBe('upload_inflight_limit')
  })
})

describe('a write', () => {
  it('takes a free worker without a promise, and waits when all of them are busy', async () => {
    const { gate } = gateOf({ workerCount: 2 })
    const [a, b, c] = ['a', 'b', 'c'].map((upload) => gate.admit(upload, upload)) as [
      Admission,
      Admission,
      Admission,
    ]
    expect(a.enter()).toBeUndefined()
    expect(b.enter()).toBeUndefined()
    const turn = c.enter()
    expect(turn).toBeInstanceOf(Promise)
    let entered = false
    void turn?.then(() => (entered = true))
    await settle()
    expect(entered).toBe(false)
    b.leave()
    await turn
    expect(gate.load()).toEqual({ inflight: 3, queued: 0, busy: 2, workers: 2 })
    a.leave()
    expect(a.enter()).toBeUndefined()
  })

  it('is never more than WORKER_COUNT at a time, though a worker passes from write to write', async () => {
    const { gate } = gateOf({ workerCount: 3 })
    let busy = 0
    let most = 0
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const admission = gate.admit(`owner ${i % 4}`, `upload ${i % 7}`)
        for (let write = 0; write < 20; write++) {
          await admission.enter()
          most = Math.max(most, ++busy)
          await settle()
          busy--
          admission.leave()
        }
        admission.release()
      }),
    )
    expect(most).toBe(3)
    expect(gate.load()).toEqual({ inflight: 0, queued: 0, busy: 0, workers: 3 })
  })

  it('of a small owner comes second, however many writes of a big one were there before it', async () => {
    const { wait, serve } = busyGate()
    for (let i = 0; i < 5; i++) wait('big', 'x')
    wait('small', 'y')
    expect(await serve()).toEqual(['big/x', 'small/y', 'big/x', 'big/x', 'big/x', 'big/x'])
  })

  it('of any of three owners waits for one of each of the others at most', async () => {
    const { wait, serve } = busyGate()
    for (const owner of ['a', 'b', 'c']) for (let i = 0; i < 3; i++) wait(owner, 'x')
    expect(await serve()).toEqual(['a/x', 'b/x', 'c/x', 'a/x', 'b/x', 'c/x', 'a/x', 'b/x', 'c/x'])
  })

  it('of one upload takes turns with the other uploads of its owner, who has no more turns for them', async () => {
    const { wait, serve } = busyGate()
    for (let i = 0; i < 3; i++) wait('a', 'x')
    wait('a', 'y')
    wait('a', 'z')
    for (let i = 0; i < 3; i++) wait('b', 'w')
    expect(await serve()).toEqual(['a/x', 'b/w', 'a/y', 'b/w', 'a/z', 'b/w', 'a/x', 'a/x'])
  })

  it('of an owner who was just served comes after those who have waited meanwhile', async () => {
    const { wait, serve } = busyGate()
    wait('a', 'x')
    wait('b', 'x')
    expect(await serve(1)).toEqual(['a/x'])
    wait('a', 'x')
    wait('c', 'x')
    expect(await serve()).toEqual(['b/x', 'a/x', 'c/x'])
  })

  it('of one upload keeps its order', async () => {
    const { wait, serve } = busyGate()
    for (const name of ['first', 'second', 'third']) wait('a', 'x', name)
    expect(await serve()).toEqual(['first', 'second', 'third'])
  })
})

describe('load', () => {
  it('tells open bodies, waiting writes and busy workers', () => {
    const { gate } = gateOf({ workerCount: 2 })
    const admissions = Array.from({ length: 5 }, (_, i) => gate.admit('ada', `upload ${i}`))
    expect(gate.load()).toEqual({ inflight: 5, queued: 0, busy: 0, workers: 2 })
    for (const admission of admissions.slice(0, 3)) void admission.enter()
    expect(gate.load()).toEqual({ inflight: 5, queued: 1, busy: 2, workers: 2 })
    admissions[0]?.leave()
    expect(gate.load()).toEqual({ inflight: 5, queued: 0, busy: 2, workers: 2 })
    admissions[4]?.release()
    expect(gate.load().inflight).toBe(4)
  })

  it('is zero again after 10,000 random operations, and every limit is whole again', async () => {
    const limits = {
      workerCount: 3,
      taskQueueMaxsize: 8,
      maxGlobalInflightChunks: 20,
      maxInflightChunksPerUpload: 4,
    }
    const { gate, counted } = gateOf(limits)
    let state = 7
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    /** idle: admitted; waiting: in the queue; writing: in a worker */
    const open: { admission: Admission; state: 'idle' | 'waiting' | 'writing' }[] = []

    for (let i = 0; i < 10_000; i++) {
      const it = open[random(open.length + 3)]
      if (!it) {
        try {
          const admission = gate.admit(`owner ${random(3)}`, `upload ${random(9)}`)
          open.push({ admission, state: 'idle' })
        } catch {
          // One of the three limits; that each is met is checked below.
        }
      } else if (it.state === 'idle' && random(3) > 0) {
        const turn = it.admission.enter()
        it.state = turn ? 'waiting' : 'writing'
        void turn?.then(() => (it.state = 'writing'))
      } else if (it.state === 'idle') {
        it.admission.release()
        open.splice(open.indexOf(it), 1)
      } else if (it.state === 'writing') {
        it.admission.leave()
        it.state = 'idle'
      }
      await Promise.resolve()
      const load = gate.load()
      const tally = (what: string) => open.filter(({ state }) => state === what).length
      if (
        load.inflight !== open.length ||
        load.queued !== tally('waiting') ||
        load.busy !== tally('writing') ||
        (load.queued > 0 && load.busy < limits.workerCount)
      )
        expect.fail(`after ${i} operations: ${JSON.stringify(load)}`)
    }
    expect(new Set(counted)).toEqual(
      new Set(['queue_full', 'global_inflight_limit', 'upload_inflight_limit']),
    )

    while (open.some(({ state }) => state !== 'idle')) {
      for (const it of open)
        if (it.state === 'writing') {
          it.admission.leave()
          it.state = 'idle'
        }
      await settle()
    }
    for (const { admission } of open) admission.release()
    expect(gate.load()).toEqual({ inflight: 0, queued: 0, busy: 0, workers: 3 })
    for (let upload = 0; upload < 5; upload++)
      for (let i = 0; i < 4; i++) expect(refusal(() => gate.admit('ada', `upload ${upload}`))).toBeNull()
    expect(refusal(() => gate.admit('ada', 'upload 9'))).toBe('global_inflight_limit')
  })
})
