/** The clock on the wall may be set; the steady one only counts on. Both in milliseconds. */
export interface Clocks {
  wallMs(): number
  steadyMs(): number
}

/** What a clock is off by so soon is no drift: somebody set it, or the machine slept. */
const JUMP_MS = 60_000

/**
 * The time by which uploads have expired or not: the wall's, but where that jumps ahead, it is as far behind
 * for `forgiveForMs`. Else one wrong second of a time server would be the end of every unfinished upload.
 * Whoever sends a byte in that time gets a new expiry by the wall; what nobody goes on with expires after it.
 * A jump back needs nothing: everything lives longer by it.
 */
export function createExpiryClock({ wallMs, steadyMs }: Clocks, forgiveForMs: number): () => Date {
  let aheadMs = wallMs() - steadyMs()
  let jumps: { byMs: number; untilMs: number }[] = []

  return () => {
    const [wall, steady] = [wallMs(), steadyMs()]
    const byMs = wall - steady - aheadMs
    aheadMs += byMs
    if (byMs > JUMP_MS) jumps.push({ byMs, untilMs: steady + forgiveForMs })
    jumps = jumps.filter(({ untilMs }) => untilMs > steady)
    return new Date(jumps.reduce((time, jump) => time - jump.byMs, wall))
  }
}
