import type { RequestLimit } from '../admission/rate-limits.ts'
import { HttpError, throttled } from '../core/errors.ts'
import type { Authenticate, Caller, Stranger } from './auth.ts'
import type { Exchange } from './exchange.ts'
import { guessCounter, type GuessOptions } from './guesses.ts'
import type { ReadToken } from './upload-tokens.ts'

export interface Identification extends GuessOptions {
  authenticate: Authenticate
  /** asked for what is neither a key nor a token of a user */
  readUploadToken: ReadToken
  /** of each key, or user of a token */
  mayRequest: RequestLimit
}

/**
 * Finds out who asks, and notes it in the exchange.
 * @returns the one upload that they hold a token for; null for a user, who may do whatever is theirs
 */
export type Identify = (exchange: Exchange) => Promise<string | null> | string | null

/** The limit counts minutes. */
const RETRY_AFTER_SECONDS = 60

/**
 * By key or token. A valid key passes whatever else comes from its address: those who share it with a
 * guesser must not be shut out.
 * @throws {HttpError} missing_api_key 401, the same for every reason; throttled 429; not_found 404 and gone
 * 410, for a token whose upload is not there any more
 */
export function identifier(options: Identification): Identify {
  const { authenticate, readUploadToken, mayRequest, meter } = options
  const countGuess = guessCounter(options)

  const accept = (exchange: Exchange, { userId, countedBy }: Caller): void => {
    if (!mayRequest(countedBy)) {
      meter.throttled('api_key_rate_limit')
      throw throttled('api_key_rate_limit', RETRY_AFTER_SECONDS)
    }
    exchange.userId = userId
  }
  const byUploadToken = async (exchange: Exchange, { presented, cause }: Stranger): Promise<string> => {
    // Who brings nothing has guessed nothing.
    if (presented !== null) {
      const holder = await readUploadToken(presented)
      if (holder) {
        accept(exchange, holder)
        return holder.uploadId
      }
      countGuess(exchange.req, presented)
    }
    throw new HttpError('missing_api_key', { cause, headers: { 'WWW-Authenticate': 'Bearer' } })
  }
  const recognise = (exchange: Exchange, who: Caller | Stranger): Promise<string> | null => {
    if (who.userId === null) return byUploadToken(exchange, who)
    accept(exchange, who)
    return null
  }

  return (exchange) => {
    const who = authenticate(exchange.req.headers)
    return who instanceof Promise ? who.then((found) => recognise(exchange, found)) : recognise(exchange, who)
  }
}
