import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { createGate, type GateLimits } from '../../src/admission/gate.ts'
import { createGuessLimit, createRequestLimit } from '../../src/admission/rate-limits.ts'
import { createApp } from '../../src/app.ts'
import type { Turn } from '../../src/core/ports/body.ts'
import type { Admission, Gate } from '../../src/core/ports/gate.ts'
import type { ChunkStore } from '../../src/core/ports/store.ts'
import { createAuthenticator } from '../../src/http/auth.ts'
import { openBody } from '../../src/http/body.ts'
import { createSigner } from '../../src/http/signer.ts'
import { tokenReader } from '../../src/http/upload-tokens.ts'
import { createEventStreams } from '../../src/http/event-stream.ts'
import { createMetrics } from '../../src/observe/metrics.ts'
import { useUploads } from './uploads.ts'

/** What a write takes on the disk of this server. */
const WRITE_MS = 1

export interface CountedServer {
  url: string
  /** the turns that others had while a write waited for its own, of each owner's writes so far */
  waits(owner: string): number[]
}

/**
 * The server on a slow disk, so that writes wait for workers, with a gate that tells how long in turns.
 * A key is its user's name.
 */
export async function useCountedServer(
  limits: Omit<GateLimits, 'admissionWaitMs'>,
  users: readonly string[],
): Promise<CountedServer> {
  const { uploads } = await useUploads(slowDisk)
  const { meter } = createMetrics()
  const inner = createGate({ ...limits, admissionWaitMs: 0 }, meter)
  const { gate, waits } = counted(inner)
  const apiKeys = new Map(users.map((user) => [user, user]))
  const links = {
    signer: createSigner(async () => [{ id: 'a', secret: 'b' }]),
    now: () => new Date(),
    linkDefaultSeconds: 1,
    linkMaxSeconds: 1,
  }
  const app = createApp({
    uploads,
    gate,
    identification: {
      authenticate: createAuthenticator({ authMode: 'api_key', apiKeys, jwt: null }),
      readUploadToken: tokenReader(uploads, links),
      mayRequest: createRequestLimit(0),
      mayGuess: createGuessLimit(0),
      trustProxy: false,
      meter,
    },
    adminUserIds: [],
    openBody: ({ req, res }) => openBody(req, res, { idleTimeoutMs: 60_000 }),
    tus: { maxUploadBytes: 1e9, maxConcatParts: 1, publicBaseUrl: null, trustProxy: false },
    links,
    corsAllowedOrigins: [],
    deadLetters: { dead: async () => [], replay: async () => 0 },
    limits: { chunkSizeBytes: 1, maxUploadBytes: 1e9, maxBytesPerUser: 0, uploadTtlMs: 1000, ...limits },
    load: inner.load,
    eventStreams: createEventStreams(meter),
    console: new Map(),
    operations: {
      version: '0',
      draining: () => false,
      check: async () => {},
      renderMetrics: async () => ({ contentType: 'text/plain', text: '' }),
      cleanUp: async () => ({
        expiredUploads: 0,
        removedUploads: 0,
        removedObjects: 0,
        failedUploads: 0,
        forgottenKeys: 0,
      }),
    },
    metricsToken: null,
    stallTimeoutMs: 60_000,
    openTrace: null,
    onWork: null,
    onRequest: () => {},
  })
  const server = createServer(app.listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, waits }
}

const slowDisk = (store: ChunkStore): ChunkStore => ({
  ...store,
  writeAt: (write) => store.writeAt({ ...write, turn: slowTurn(write.turn) }),
})

const slowTurn = (turn: Turn): Turn => ({
  async enter() {
    await turn.enter()
    await sleep(WRITE_MS)
  },
  leave: () => turn.leave(),
})

function counted(gate: Gate): { gate: Gate; waits: CountedServer['waits'] } {
  const waits = new Map<string, number[]>()
  let turns = 0
  const counting = (owner: string, admission: Admission): Admission => ({
    ...admission,
    async enter() {
      const before = turns
      await admission.enter()
      waits.set(owner, [...(waits.get(owner) ?? []), turns - before])
      turns += 1
    },
  })
  return {
    gate: { ...gate, admit: (owner, upload) => counting(owner, gate.admit(owner, upload)) },
    waits: (owner) => waits.get(owner) ?? [],
  }
}
