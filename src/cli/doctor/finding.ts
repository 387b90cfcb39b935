/** What one check found. */
export interface Finding {
  check: string
  status: 'ok' | 'warning' | 'failed' | 'skipped'
  /** what is so */
  found: string
  /** what to do about it; null where there is nothing to do */
  remedy: string | null
}

type Verdict = Omit<Finding, 'check'>

export const ok = (found: string): Verdict => ({ status: 'ok', found, remedy: null })
export const warning = (found: string, remedy: string): Verdict => ({ status: 'warning', found, remedy })
export const failed = (found: string, remedy: string): Verdict => ({ status: 'failed', found, remedy })
export const skipped = (found: string): Verdict => ({ status: 'skipped', found, remedy: null })

export type Check = readonly [name: string, look: () => Promise<Verdict> | Verdict]

/** Makes one check after the other; one that breaks has failed, and the next is made all the same. */
export async function* examine(checks: readonly Check[], signal: AbortSignal): AsyncGenerator<Finding> {
  for (const [check, look] of checks) {
    signal.throwIfAborted()
    try {
      yield { check, ...(await look()) }
    } catch (error) {
      signal.throwIfAborted()
      yield {
        check,
        ...failed(wordsOf(error), 'Try what this check does by hand, and read the log of the server.'),
      }
    }
  }
}

/** A failed connection to several addresses says nothing itself. */
export function wordsOf(error: unknown): string {
  if (error instanceof AggregateError && error.errors.length > 0) return wordsOf(error.errors[0])
  return error instanceof Error ? error.message || error.name : String(error)
}
