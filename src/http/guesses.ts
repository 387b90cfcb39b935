import { createHash } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { GuessLimit } from '../admission/rate-limits.ts'
import { throttled } from '../core/errors.ts'
import type { Meter } from '../core/ports/meter.ts'
import { clientAddress } from './client-address.ts'

export interface GuessOptions {
  /** of each address, for keys, tokens and links that are wrong */
  mayGuess: GuessLimit
  /** whether forwarded headers tell the truth */
  trustProxy: boolean
  meter: Pick<Meter, 'throttled'>
}

/** The limit counts minutes. */
const RETRY_AFTER_SECONDS = 60

/**
 * Counts a secret that is wrong, by the address that it came from.
 * @throws {HttpError} throttled 429 when that has guessed too often
 */
export const guessCounter =
  ({ mayGuess, trustProxy, meter }: GuessOptions) =>
  (req: IncomingMessage, presented: string): void => {
    if (mayGuess(clientAddress(req, trustProxy), traceOf(presented))) return
    meter.throttled('auth_failure_limit')
    throw throttled('auth_failure_limit', RETRY_AFTER_SECONDS)
  }

/** Enough to tell guesses apart, and nothing that leads back to them. */
const traceOf = (presented: string): string =>
  createHash('sha256').update(presented).digest('base64').slice(0, 12)
