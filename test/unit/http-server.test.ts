import { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { expect, onTestFinished, test } from 'vitest'
import { parseConfig } from '../../src/config/config.ts'
import { createHttpServer } from '../../src/process/http-server.ts'
import { testEnv } from '../support/server.ts'

test('requests and responses come with the prototypes that Express would give them', async () => {
  const app = express()
  app.use((_req, res) => void res.json({}))
  const server = createHttpServer({ listener: app, express: app }, parseConfig(testEnv('/nowhere')))
  const born: [IncomingMessage, unknown, ServerResponse, unknown][] = []
  server.prependListener('request', (req, res) =>
    born.push([req, Object.getPrototypeOf(req), res, Object.getPrototypeOf(res)]),
  )
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const { status } = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)

  expect(status).toBe(200)
  const [[req, reqPrototype, res, resPrototype] = []] = born
  expect(reqPrototype).toBe(app.request)
  expect(resPrototype).toBe(app.response)
  expect([req instanceof IncomingMessage, res instanceof ServerResponse]).toEqual([true, true])
})
