import http from 'node:http'
import https from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Tally } from './tally.ts'

export interface Answer {
  status: number
  headers: http.IncomingHttpHeaders
  body: Buffer
}

export interface Ask {
  method: string
  path: string
  headers?: Record<string, string | number>
  body?: Buffer | string
  /** takes the answer's body piece by piece, in place of `Answer.body` */
  sink?: (piece: Buffer) => void
}

export interface Client {
  /** One request, no second try. @throws when the connection fails */
  send(ask: Ask): Promise<Answer>
  /**
   * Sends until the answer is a success. Refusals for the moment are waited out, failures that may pass
   * are tried again with growing pauses.
   * @param ask made anew for every try; it is told whether the try before it failed
   * @throws when the server refuses for good, or the tries are used up
   */
  persist(ask: (afterFailure: boolean) => Promise<Answer>, alsoPassing?: readonly number[]): Promise<Answer>
  close(): void
}

/** What may pass by itself: 423 is an upload that is being written to or completed. */
const PASSING = [408, 423, 425, 500, 502, 504]
const SILENCE_MS = 60_000
/** A server that only ever refuses must not hold the test for ever. */
const LONGEST_REFUSAL_MS = 10 * 60_000
const LONGEST_PAUSE_MS = 10_000

export function newClient(
  {
    baseUrl,
    apiKey,
    sockets,
    maxRetries,
  }: { baseUrl: string; apiKey: string; sockets: number; maxRetries: number },
  tally: Tally,
): Client {
  const base = new URL(baseUrl)
  const transport = base.protocol === 'https:' ? https : http
  const agent = new transport.Agent({ keepAlive: true, maxSockets: sockets, maxFreeSockets: sockets })

  const send = ({ method, path, headers = {}, body, sink }: Ask): Promise<Answer> =>
    new Promise((resolve, reject) => {
      const request = transport.request(
        new URL(path, base),
        {
          agent,
          method,
          headers: {
            'X-API-Key': apiKey,
            ...(body !== undefined && { 'Content-Length': Buffer.byteLength(body) }),
            ...headers,
          },
        },
        (response) => {
          const pieces: Buffer[] = []
          response.on('data', sink ?? ((piece: Buffer) => pieces.push(piece)))
          response.on('error', reject)
          response.on('end', () =>
            resolve({
              status: response.statusCode ?? 0,
              headers: response.headers,
              body: Buffer.concat(pieces),
            }),
          )
        },
      )
      // Also after the answer: an early refusal may close the connection under a body still on its way.
      request.on('error', reject)
      request.setTimeout(SILENCE_MS, () => request.destroy(new Error(`silent for ${SILENCE_MS / 1000} s`)))
      request.end(body)
    })

  const persist: Client['persist'] = async (ask, alsoPassing = []) => {
    const refusedFor = { sinceMs: performance.now() }
    for (let failures = 0, failed = false; ;) {
      const answer = await ask(failed).catch((error: unknown) => error as Error)
      failed = true
      if (answer instanceof Error) {
        if (failures++ >= maxRetries) throw new Error(`${answer.message}, ${maxRetries} retries used up`)
      } else if (answer.status >= 200 && answer.status < 300) {
        return answer
      } else if (answer.status === 429 || answer.status === 503) {
        tally.throttled++
        if (performance.now() - refusedFor.sinceMs > LONGEST_REFUSAL_MS)
          throw new Error(`answered ${answer.status} for ${LONGEST_REFUSAL_MS / 60_000} minutes`)
        await sleep(retryAfterMs(answer.headers['retry-after'], Date.now()))
        continue
      } else if (![...PASSING, ...alsoPassing].includes(answer.status)) {
        throw new Error(`answered ${answer.status}: ${answer.body.toString().slice(0, 300)}`)
      } else if (failures++ >= maxRetries) {
        throw new Error(`still answered ${answer.status}, ${maxRetries} retries used up`)
      }
      tally.retries++
      await sleep(pauseMs(failures))
    }
  }

  return { send, persist, close: () => agent.destroy() }
}

/** RFC 9110 §10.2.3: seconds or a date. A second where the server names none. */
export function retryAfterMs(header: string | undefined, nowMs: number): number {
  if (header === undefined) return 1000
  const wait = /^\d+$/.test(header) ? Number(header) * 1000 : Date.parse(header) - nowMs
  return Number.isNaN(wait) ? 1000 : Math.max(0, wait)
}

/** Doubles with every failure; scattered, so that what failed together does not come back together. */
const pauseMs = (failures: number): number =>
  Math.min(LONGEST_PAUSE_MS, 100 * 2 ** (failures - 1)) * (0.5 + Math.random() / 2)
