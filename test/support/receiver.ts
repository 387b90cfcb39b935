import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Webhook } from 'standardwebhooks'
import { onTestFinished } from 'vitest'
import type { UploadEvent } from '../../src/core/events.ts'
import { eventually } from './slow-request.ts'

/** 24 bytes and more of base64, as an operator would make them. */
export const SECRET = `whsec_${Buffer.from('a secret of thirty-two characters').toString('base64')}`
export const OLD_SECRET = `whsec_${Buffer.from('what it was before, and still is').toString('base64')}`

export interface Received {
  headers: IncomingHttpHeaders
  body: string
  event: UploadEvent
}

/** Answers the attempt with this number, from 1; what it does not answer stays open. */
type Answer = (res: ServerResponse, attempt: number, received: Received) => void

export interface Receiver {
  url: string
  received: Received[]
  /** the types of what was received of an upload, in order */
  typesOf(uploadId: string): string[]
  /** Waits until it has received so much, of whatever kind. */
  until(count: number): Promise<void>
  /** From now on. */
  answer(answer: Answer): void
  /** Takes no connections, and cuts those that are there; @returns how to open it again at the same place */
  goAway(): Promise<() => Promise<void>>
}

export const accept: Answer = (res) => res.writeHead(204).end()
export const refuse =
  (status: number, headers: Record<string, string> = {}): Answer =>
  (res) =>
    res.writeHead(status, headers).end('no')

/** A real receiver of events, closed at the end of the running test. */
export async function useReceiver(answer: Answer = accept): Promise<Receiver> {
  const received: Received[] = []
  let answering = answer
  const server = createServer((req, res) => {
    const pieces: Buffer[] = []
    req.on('data', (piece: Buffer) => pieces.push(piece))
    req.on('end', () => {
      const body = Buffer.concat(pieces).toString()
      const one = { headers: req.headers, body, event: JSON.parse(body) as UploadEvent }
      received.push(one)
      answering(res, received.length, one)
    })
  })
  const listen = (port: number) =>
    new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve()))
  const close = () =>
    new Promise<void>((resolve) => {
      server.close(() => resolve())
      server.closeAllConnections()
    })
  await listen(0)
  onTestFinished(close)
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/hook`,
    received,
    typesOf: (id) =>
      received.filter(({ event }) => event.data.upload_id === id).map(({ event }) => event.type),
    until: (count) =>
      eventually(() => received.length >= count, `${count} events have been received`, 30_000),
    answer(next) {
      answering = next
    },
    async goAway() {
      await close()
      return () => listen(port)
    },
  }
}

/** What a receiver does first of all. @throws unless the one who sent it knows the secret */
export const verify = ({ body, headers }: Received, secret = SECRET): unknown =>
  new Webhook(secret).verify(body, headers as Record<string, string>)

export const webhookEnv = (...receivers: { url: string }[]): Record<string, string> => ({
  WEBHOOK_URL: receivers.map(({ url }) => url).join(','),
  WEBHOOK_SECRET: SECRET,
  WEBHOOK_RETRY_SECONDS: '1',
  WEBHOOK_TIMEOUT_SECONDS: '5',
})
