import { describe, expect, it } from 'vitest'
import { createGate, type GateLimits } from '../../src/admission/gate.ts'
import { HttpError, type ThrottleReason } from '../../src/core/errors.ts'
import type { Admission } from '../../src/core/ports/gate.ts'

const ROOMY: GateLimits = {
  workerCount: 1,
  maxFairInflightChunksPerUpload: 0,
  taskQueueMaxsize: 1000,
  maxGlobalInflightChunks: 1000,
  maxInflightChunksPerUpload: 1000,
  admissionWaitMs: 60_000,
}

function gateOf(limits: Partial<GateLimits> = {}) {
  const counted: ThrottleReason[] = []
  const meter = { throttled: (reason: ThrottleReason) => counted.push(reason) }
  const gate = createGate({ ...ROOMY, ...limits }, meter)
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

describe('a body that may wait', () => {
  /** One place, taken. */
  const fullGate = (limits: Partial<GateLimits> = {}) => {
    const { gate, counted } = gateOf({ maxGlobalInflightChunks: 1, ...limits })
    const admitted: string[] = []
    const open: Admission[] = [gate.admit('first', 'first')]
    return {
      gate,
      counted,
      admitted,
      /** Lets the open body go, and whoever comes next come. */
      async next() {
        open.shift()?.release()
        await settle()
      },
      wait(owner: string, upload = `upload of ${owner}`) {
        const place = gate.admitInTurn(owner, upload)
        if (!('admitted' in place)) throw new Error('there was room')
        const outcome = place.admitted.then(
          (admission) => {
            admitted.push(owner)
            open.push(admission)
            return 'admitted'
          },
          (error: Error) => error,
        )
        return { ...place, outcome }
      },
    }
  }

  it('does not wait where there is room', () => {
    const { gate } = gateOf({ maxGlobalInflightChunks: 1 })
    expect(gate.admitInTurn('a', 'x')).not.toHaveProperty('admitted')
    expect(gate.load().inflight).toBe(1)
  })

  it('is admitted when a place comes free, and the place is never given to two', async () => {
    const { gate, next, wait, admitted } = fullGate()
    wait('a')
    wait('b')
    await settle()
    expect(admitted).toEqual([])
    expect(gate.load()).toMatchObject({ inflight: 1, queued: 2 })
    await next()
    expect(admitted).toEqual(['a'])
    expect(gate.load()).toMatchObject({ inflight: 1, queued: 1 })
    expect(refusal(() => gate.admit('c', 'c'))).toBe('global_inflight_limit')
    await next()
    await next()
    expect(admitted).toEqual(['a', 'b'])
    expect(gate.load()).toMatchObject({ inflight: 0, queued: 0 })
  })

  it('takes turns with those of other owners', async () => {
    const { next, wait, admitted } = fullGate()
    for (let i = 0; i < 3; i++) wait('big', `upload ${i}`)
    wait('small')
    for (let i = 0; i < 4; i++) await next()
    expect(admitted).toEqual(['big', 'small', 'big', 'big'])
  })

  it('is refused at once, as any other, when TASK_QUEUE_MAXSIZE bodies and writes wait', async () => {
    const { gate, counted, wait, next } = fullGate({ taskQueueMaxsize: 2 })
    wait('a')
    wait('b')
    expect(refusal(() => gate.admitInTurn('c', 'c') as Admission)).toBe('queue_full')
    expect(refusal(() => gate.admit('c', 'c'))).toBe('queue_full')
    expect(counted).toEqual(['queue_full', 'queue_full'])
    await next()
    wait('c')
  })

  it('counts for its upload while it waits', async () => {
    const { gate, wait, next } = fullGate({ maxInflightChunksPerUpload: 2 })
    wait('a', 'x')
    wait('a', 'x')
    expect(refusal(() => gate.admitInTurn('a', 'x') as Admission)).toBe('upload_inflight_limit')
    await next()
    expect(refusal(() => gate.admitInTurn('a', 'x') as Admission)).toBe('upload_inflight_limit')
    await next()
    wait('a', 'x')
  })

  it('leaves the queue when it is given up, with the reason, and takes no place', async () => {
    const { gate, wait, next, admitted } = fullGate()
    const [first, second] = [wait('a'), wait('b')]
    const why = new Error('gone')
    first.giveUp(why)
    first.giveUp(why)
    expect(await first.outcome).toBe(why)
    expect(gate.load()).toMatchObject({ inflight: 1, queued: 1 })
    await next()
    expect(admitted).toEqual(['b'])
    second.giveUp(why)
    expect(await second.outcome).toBe('admitted')
    await next()
    expect(gate.load()).toMatchObject({ inflight: 0, queued: 0 })
  })

  it('is refused when its time is over', async () => {
    const { gate, counted, wait } = fullGate({ admissionWaitMs: 1 })
    expect(await wait('a').outcome).toMatchObject({
      status: 429,
      headers: { 'X-RateLimit-Reason': 'global_inflight_limit' },
    })
    expect(counted).toEqual(['global_inflight_limit'])
    expect(gate.load()).toMatchObject({ inflight: 1, queued: 0 })
  })

  it('is refused at once where nobody may wait', () => {
    const { gate } = fullGate({ admissionWaitMs: 0 })
    expect(refusal(() => gate.admitInTurn('a', 'x') as Admission)).toBe('global_inflight_limit')
    expect(gate.load()).toMatchObject({ inflight: 1, queued: 0 })
  })

  it('is sent away when the server stops, and so is whoever would wait after that', async () => {
    const { gate, wait, next } = fullGate()
    const why = new Error('stopping')
    const waiting = [wait('a'), wait('b')]
    void gate.close(why)
    expect(await Promise.all(waiting.map(({ outcome }) => outcome))).toEqual([why, why])
    expect(() => gate.admitInTurn('c', 'c')).toThrow(why)
    await next()
    expect(gate.load()).toMatchObject({ inflight: 0, queued: 0 })
  })
})

describe('closing', () => {
  it('is over at once where no body is open, and else when the last one is done with', async () => {
    const { gate } = gateOf()
    await gate.close(new Error('stopping'))
    const bodies = [gate.admit('a', 'x'), gate.admit('b', 'y')]
    let over = false
    const closed = gate.close(new Error('stopping')).then(() => (over = true))
    bodies[0]?.release()
    await settle()
    expect(over).toBe(false)
    bodies[1]?.release()
    await closed
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
      maxFairInflightChunksPerUpload: 1,
      taskQueueMaxsize: 8,
      maxGlobalInflightChunks: 20,
      maxInflightChunksPerUpload: 4,
      admissionWaitMs: 0,
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
