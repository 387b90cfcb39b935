import type { Config } from '../config/config.ts'
import { unavailable } from '../core/errors.ts'
import type { Body } from '../core/ports/body.ts'
import { openBody as openPlainBody } from '../http/body.ts'
import type { OpenBody } from '../http/exchange.ts'
import { openLaneBody, type LaneOptions } from '../http/lane-body.ts'
import { createRingBuffers, type RingKind } from '../http/ring.ts'

/** what all bodies may gather while nobody takes of them, and what each may in any case */
const GATHERED_BYTES = 32 * 1024 * 1024
const LEAST_GATHERED_BYTES = 64 * 1024

/**
 * Where a store gathers whole cells, a ring holds bytes on the way there alone. Small ones are enough for that,
 * and there may be as many as bodies: what the parser reads instead is left to the garbage collector, which lets
 * it come to more than all of them.
 */
const SMALL_RINGS: readonly RingKind[] = [{ most: 128, halfBytes: 64 * 1024 }]

/**
 * Every open body, so that a shutdown can end those that outlast its grace, and so that many of them gather
 * no more together than a few.
 */
export function trackBodies(
  { bodyIdleTimeoutMs, fastLane, fastLaneMinBytes, storage }: Config,
  onWay: LaneOptions['onWay'],
) {
  const open = new Set<Body>()
  const options: LaneOptions = {
    idleTimeoutMs: bodyIdleTimeoutMs,
    shareBytes: () => Math.max(LEAST_GATHERED_BYTES, GATHERED_BYTES / open.size),
    buffers: storage.backend === 'local' ? createRingBuffers() : createRingBuffers(SMALL_RINGS),
    onWay,
    onHandBack: () => {},
    leastBytes: fastLaneMinBytes,
  }
  const openBody = fastLane ? openLaneBody : openPlainBody
  const tracked: OpenBody = ({ req, res }) => {
    const body = openBody(req, res, options)
    open.add(body)
    res.once('close', () => open.delete(body))
    return body
  }
  return {
    open: tracked,
    onHandBack(listener: LaneOptions['onHandBack']) {
      options.onHandBack = listener
    },
    stopAll() {
      for (const body of open) body.stop(unavailable('The server is shutting down.'))
    },
  }
}
