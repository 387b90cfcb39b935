import type { LaneOptions } from '../../src/http/lane-body.ts'
import { createRingBuffers } from '../../src/http/ring.ts'

/** The fast lane for bodies of any length. */
export const laneOptions = (options: Partial<LaneOptions>): LaneOptions => ({
  idleTimeoutMs: 60_000,
  buffers: createRingBuffers(),
  onWay: () => {},
  onHandBack: () => {},
  leastBytes: 1,
  ...options,
})
