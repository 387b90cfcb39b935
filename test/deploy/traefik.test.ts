import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { deployed } from './programs.ts'

const read = (name: string): any => parse(readFileSync(deployed('proxies', 'traefik', name), 'utf8'))

test('Traefik sets no end to a body, nor to the wait for an answer', () => {
  const { respondingTimeouts } = read('traefik.yaml').entryPoints.websecure.transport
  expect([respondingTimeouts.readTimeout, respondingTimeouts.writeTimeout]).toEqual(['0s', '0s'])
  const { uploads } = read('uploads.yaml').http.serversTransports
  expect(uploads.forwardingTimeouts.responseHeaderTimeout).toBe('0s')
})

test('Traefik neither buffers bodies nor sends them again', () => {
  const { middlewares, routers } = read('uploads.yaml').http
  for (const middleware of Object.values<object>(middlewares))
    for (const kind of Object.keys(middleware)) expect(['buffering', 'retry', 'compress']).not.toContain(kind)
  expect(routers.uploads.middlewares.toSorted()).toEqual(Object.keys(middlewares).toSorted())
})

test('what the parts of the Traefik configuration name is there', () => {
  const { entryPoints, certificatesResolvers } = read('traefik.yaml')
  const { routers, services, serversTransports } = read('uploads.yaml').http
  for (const { entryPoints: names, service, tls } of Object.values<any>(routers)) {
    for (const name of names) expect(Object.keys(entryPoints)).toContain(name)
    expect(Object.keys(services)).toContain(service)
    expect(Object.keys(certificatesResolvers)).toContain(tls.certResolver)
  }
  for (const { loadBalancer } of Object.values<any>(services))
    expect(Object.keys(serversTransports)).toContain(loadBalancer.serversTransport)
})
