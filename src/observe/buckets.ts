/** Bounds of histograms, each included in its bucket. */

const KIB = 1024
const MIB = KIB * KIB
const GIB = MIB * KIB

/** seconds of one step: a commit, a write, a request to a bucket, a wait */
export const OPERATIONS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** seconds of a request: one may bring or fetch a whole file over a slow connection */
export const REQUESTS = [...OPERATIONS, 300, 1800, 7200]

/** seconds from the creation of an upload to its completion, which may be resumed on another day */
export const LIVES = [
  0.01,
  0.05,
  0.1,
  0.5,
  1,
  5,
  10,
  30,
  60,
  300,
  900,
  3600,
  6 * 3600,
  24 * 3600,
  7 * 24 * 3600,
]

/** bytes of a file, or of a body: from a thumbnail to what fits on no disk of today */
export const SIZES = [
  ...[1, 16, 64, 256].map((count) => count * KIB),
  ...[1, 5, 16, 64, 256].map((count) => count * MIB),
  ...[1, 5, 20, 50, 200, 1024].map((count) => count * GIB),
]
