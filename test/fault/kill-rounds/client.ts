import { expect } from 'vitest'
import { bytesOf, sha256 } from '../../support/bytes.ts'
import { download, type Client } from '../../support/client.ts'

export const CHUNK = 128 * 1024

/** What the rounds do at random. */
export interface Chance {
  /** a whole number from `least` to `most` */
  between(least: number, most: number): number
  /** true once in `times` */
  once(times: number): boolean
}

/** An upload as its client knows it: what it was told counts, and nothing else. */
export interface Sent {
  id: string
  bytes: Buffer
  /** deleting: nobody was told whether it is deleted */
  state: 'open' | 'complete' | 'deleting' | 'deleted'
}

/** Uploads by one dialect, until the server is gone, over and over. */
export interface RoundClient {
  /** Goes on where it was; resolves when the server is gone. */
  work(url: string): Promise<void>
  /** Fails when something that it was told is not so any more. */
  check(call: Client): Promise<void>
  /** Brings every upload to its end. */
  finish(url: string): Promise<void>
  readonly sent: readonly Sent[]
}

/** New bytes for every upload, so that none passes for another. */
export function newBytes(chance: Chance): Buffer {
  return bytesOf(chance.between(1, 12) * CHUNK + chance.between(-5, 5), chance.between(1, 1e9))
}

/** Does a step again and again, until the connection fails. What fails otherwise is a failure of the test. */
export async function untilGone(step: () => Promise<unknown>): Promise<void> {
  try {
    for (;;) await step()
  } catch (error) {
    // The one kind of error that fetch has for a server that is gone.
    if (!(error instanceof TypeError)) throw error
  }
}

/** What was complete is, with its bytes; what was deleted is not there. */
export async function checkEnded(call: Client, sent: readonly Sent[], url: string | null): Promise<void> {
  for (const { id, bytes, state } of sent) {
    if (state === 'open' || state === 'deleting') continue
    const { status, json } = await call('GET', `/v1/uploads/${id}`)
    expect([id, status, json.status]).toEqual(
      state === 'complete' ? [id, 200, 'COMPLETED'] : [id, 404, undefined],
    )
    if (url !== null && state === 'complete')
      expect(sha256(await download(url, `/files/${id}`))).toBe(sha256(bytes))
  }
}
