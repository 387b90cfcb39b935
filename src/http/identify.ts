import { createHash } from 'node:crypto'
import type { GuessLimit, RequestLimit } from '../admission/rate-limits.ts'
import { HttpError, throttled, type ThrottleReason } from '../core/errors.ts'
import type { Meter } from '../core/ports.ts'
import type { Authenticate, Caller, Stranger } from './auth.ts'
import { clientAddress } from './client-address.ts'
import type { Exchange, Guard } from './exchange.ts'

export interface Identification {
  authenticate: Authenticate
  /** of each key, or user of a token */
  mayRequest: RequestLimit
  /** of each address, for keys that are wrong */
  mayGuess: GuessLimit
  /** whether forwarded headers tell the truth */
  trustProxy: boolean
  meter: Pick<Meter, 'throttled'>
}

/** The limits count minutes. */
const RETRY_AFTER_SECONDS = 60

/**
 * Finds out who asks, and notes it in the exchange. A valid key passes whatever else comes from its
 * address: those who share it with a guesser must not be shut out.
 * @throws {HttpError} missing_api_key 401, the same for every reason; throttled 429
 */
export function identifier(options: Identification): Guard {
  const { authenticate, mayRequest, mayGuess, trustProxy, meter } = options
  const limited = (reason: ThrottleReason) => {
    meter.throttled(reason)
    return throttled(reason, RETRY_AFTER_SECONDS)
  }
  const refusal = ({ req }: Exchange, { presented, cause }: Stranger): HttpError => {
    // Who brings nothing has guessed nothing.
    if (presented !== null && !mayGuess(clientAddress(req, trustProxy), traceOf(presented)))
      return limited('auth_failure_limit')
    return new HttpError('missing_api_key', { cause, headers: { 'WWW-Authenticate': 'Bearer' } })
  }
  const accept = (exchange: Exchange, who: Caller | Stranger) => {
    if (who.userId === null) throw refusal(exchange, who)
    if (!mayRequest(who.countedBy)) throw limited('api_key_rate_limit')
    exchange.userId = who.userId
  }

  return (exchange) => {
    const who = authenticate(exchange.req.headers)
    return who instanceof Promise ? who.then((found) => accept(exchange, found)) : accept(exchange, who)
  }
}

/** Enough to tell guesses apart, and nothing that leads back to them. */
const traceOf = (presented: string): string =>
  createHash('sha256').update(presented).digest('base64').slice(0, 12)
