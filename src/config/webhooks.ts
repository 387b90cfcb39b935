import type { Values } from './variables.ts'

/** Who is told of events, and how. */
export interface Webhooks {
  readonly urls: readonly string[]
  /** All of them sign, so that a receiver may know the old one or the new one. */
  readonly secrets: readonly Uint8Array[]
  /** after which an event is given up */
  readonly maxAttempts: number
  /** before the second attempt; each further pause is longer */
  readonly retryMs: number
  /** of one attempt */
  readonly timeoutMs: number
}

export const webhooksOf = (v: Values): Webhooks | null =>
  v.WEBHOOK_URL.length === 0
    ? null
    : Object.freeze({
        urls: v.WEBHOOK_URL,
        secrets: v.WEBHOOK_SECRET,
        maxAttempts: v.WEBHOOK_MAX_ATTEMPTS,
        retryMs: v.WEBHOOK_RETRY_SECONDS * 1000,
        timeoutMs: v.WEBHOOK_TIMEOUT_SECONDS * 1000,
      })

/** What does not fit together, a line each for the operator. */
export const webhookProblems = (v: Values): string[] =>
  v.WEBHOOK_URL.length > 0 && v.WEBHOOK_SECRET.length === 0
    ? ['WEBHOOK_SECRET must be set when WEBHOOK_URL is']
    : []
