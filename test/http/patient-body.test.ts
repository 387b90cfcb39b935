import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { setImmediate as later } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { createGate } from '../../src/admission/gate.ts'
import type { Exchange } from '../../src/http/exchange.ts'
import { patientBody } from '../../src/http/guards.ts'
import { eventually } from '../support/slow-request.ts'
import { lines, rawConnection } from '../support/raw.ts'

test('a connection whose whole request had come before it had to wait goes on to the next one', async () => {
  const limits = {
    workerCount: 1,
    maxFairInflightChunksPerUpload: 0,
    taskQueueMaxsize: 10,
    maxGlobalInflightChunks: 1,
    maxInflightChunksPerUpload: 10,
    admissionWaitMs: 60_000,
  }
  const gate = createGate(limits, { throttled: () => {} })
  const open = gate.admit('somebody', 'else')
  const admit = patientBody(gate)
  const server = createServer((req, res) => {
    const exchange = { req, res, userId: 'ada', uploadId: 'x', admission: null } as unknown as Exchange
    const serve = async () => {
      // As long as a database takes that is elsewhere.
      for (let i = 0; i < 3; i++) await later()
      await admit(exchange)
      res.end(`<${String(await buffer(req))}>`)
      exchange.admission?.release()
    }
    void serve()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())

  const put = (body: string) => lines('PUT / HTTP/1.1', 'Host: a', `Content-Length: ${body.length}`) + body
  const connection = rawConnection(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  connection.send(put('first'))
  await eventually(() => gate.load().queued === 1, 'the first one waits')
  open.release()
  await connection.sees(/<first>/)
  connection.send(put('second'))
  expect(await connection.sees(/<second>/)).toMatch(/200 OK[^]*200 OK/)
})
