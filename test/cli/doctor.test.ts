import { execFileSync, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { chmod, mkdir, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { builtCli } from '../support/cli.ts'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { useHttpProxy, type Misconfiguration } from '../support/http-proxy.ts'
import { testEnv, useServer } from '../support/server.ts'

const cli = builtCli()
const ORIGIN = 'https://www.example.org'

interface Finding {
  check: string
  status: string
  found: string
  remedy: string | null
}

async function examined(url: string, ...more: string[]) {
  const { code, json } = await cli.run(['doctor', '--url', url, '--json', ...more])
  const findings = json as Finding[]
  const of = (check: string) => findings.find((finding) => finding.check === check)
  const bad = findings.filter(({ status }) => status === 'failed' || status === 'warning')
  return { code, of, bad: bad.map(({ check }) => check) }
}

test('a server in order passes every check, and keeps nothing of them', async () => {
  const server = await useServer({ CORS_ALLOWED_ORIGINS: ORIGIN })
  const { code, bad, of } = await examined(server.url, '--origin', ORIGIN, '--deep')
  expect({ code, bad }).toEqual({ code: 0, bad: [] })
  expect(of('body of 110 MiB')).toMatchObject({ status: 'ok', found: 'arrived' })
  expect((await clientOf(server.url)('GET', '/v1/uploads')).json.uploads).toEqual([])
})

const BROKEN: [string, Misconfiguration, string, string, RegExp][] = [
  ['buffers requests', { buffersRequests: true }, 'request buffering', 'failed', /proxy_request_buffering/],
  ['caps bodies', { maxBodyBytes: 1024 ** 2 * 100 }, 'body size', 'failed', /client_max_body_size/],
  ['drops the key', { dropsRequestHeaders: ['x-api-key'] }, 'key', 'failed', /X-API-Key/],
  ['does not tell its host', { ownHost: true }, 'Location', 'failed', /PUBLIC_BASE_URL/],
  ['drops Upload-Metadata', { dropsRequestHeaders: ['upload-metadata'] }, 'headers', 'failed', /headers on/],
  [
    'drops the override of methods',
    { dropsRequestHeaders: ['x-http-method-override'] },
    'method override',
    'warning',
    /X-HTTP-Method-Override/,
  ],
  ['drops ranges', { dropsRequestHeaders: ['range'] }, 'chunks', 'warning', /Range/],
  [
    'hides headers from pages',
    { dropsResponseHeaders: ['access-control-expose-headers'] },
    'CORS',
    'failed',
    /Expose-Headers/,
  ],
  ['drops Tus-Version', { dropsResponseHeaders: ['tus-version'] }, 'tus OPTIONS', 'failed', /Tus-/],
  [
    'has another time',
    { setsResponseHeaders: { date: 'Tue, 24 Nov 2020 22:10:00 GMT' } },
    'clock',
    'warning',
    /NTP/,
  ],
]

test.each(BROKEN)('a proxy that %s is found out', async (_, wrong, check, status, remedy) => {
  const server = await useServer({ CORS_ALLOWED_ORIGINS: ORIGIN })
  const proxy = await useHttpProxy(server.url, wrong)
  const { code, of } = await examined(proxy.url, '--origin', ORIGIN)
  expect(of(check)).toMatchObject({ status, remedy: expect.stringMatching(remedy) })
  expect(code).toBe(status === 'failed' ? 1 : 0)
  expect((await clientOf(server.url)('GET', '/v1/uploads')).json.uploads).toEqual([])
})

test('a proxy that caps bodies without a look at their length is found out with --deep', async () => {
  const server = await useServer({ MAX_UPLOAD_BYTES: '100000000' })
  const { code, of } = await examined(server.url, '--deep')
  expect(of('body of 110 MiB')).toMatchObject({ status: 'failed' })
  expect(code).toBe(1)
})

test('where nobody answers, or something else does, one check fails and the others are skipped', async () => {
  const server = await useServer()
  for (const [url, found] of [
    ['http://127.0.0.1:1', /ECONNREFUSED/],
    [`${server.url}/elsewhere`, /404/],
  ] as const) {
    const { code, bad, of } = await examined(url)
    expect({ code, bad }).toEqual({ code: 1, bad: ['reachable'] })
    expect(of('reachable')?.found).toMatch(found)
    expect(of('tus')).toMatchObject({ status: 'skipped' })
  }
})

test('a wrong key fails, and what needs one is skipped', async () => {
  const server = await useServer()
  const { code, of } = await examined(server.url, '--api-key', 'wrong')
  expect(code).toBe(1)
  expect(of('key')).toMatchObject({ status: 'failed' })
  expect(of('request buffering')).toMatchObject({ status: 'skipped' })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
if (!hasOpenssl) console.log('doctor: without openssl there is no certificate, and no test of TLS')

test.skipIf(!hasOpenssl)('behind TLS a Location of http fails, and a certificate is judged', async () => {
  const server = await useServer()
  const folder = await useFolder()
  const [key, cert] = [path.join(folder, 'key.pem'), path.join(folder, 'cert.pem')]
  const request = `req -x509 -newkey rsa:2048 -nodes -keyout ${key} -out ${cert} -days 10 -subj /CN=localhost`
  execFileSync('openssl', [...request.split(' '), '-addext', 'subjectAltName=DNS:localhost'], {
    stdio: 'pipe',
  })
  const tls = { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
  const proxy = await useHttpProxy(server.url, { tls })
  const unknown = await examined(proxy.url)
  expect(unknown.of('reachable')).toMatchObject({ remedy: expect.stringMatching(/NODE_EXTRA_CA_CERTS/) })
  const args = ['doctor', '--url', proxy.url, '--json']
  const { code, json } = await cli.run(args, { env: { NODE_EXTRA_CA_CERTS: cert } })
  expect(code).toBe(1)
  const bad = json.filter(({ status }) => status !== 'ok' && status !== 'skipped')
  expect(bad.map(({ check, status }) => [check, status])).toEqual([
    ['TLS', 'warning'],
    ['Location', 'failed'],
  ])
  expect(bad[0].found).toMatch(/expires in \d+ days/)
  expect(bad[1].remedy).toMatch(/TRUST_PROXY/)
})

test('an origin that is not let in fails', async () => {
  const server = await useServer({ CORS_ALLOWED_ORIGINS: ORIGIN })
  const { of } = await examined(server.url, '--origin', 'https://other.example')
  expect(of('CORS')).toMatchObject({
    status: 'failed',
    remedy: expect.stringMatching(/CORS_ALLOWED_ORIGINS/),
  })
})

test('on the machine of the server all is well before its first start, and nothing is made', async () => {
  const folder = await useFolder()
  const { code, json, stdout } = await cli.run(['doctor', '--json'], { env: testEnv(folder) })
  expect({ code, bad: json.filter(({ status }) => status !== 'ok') }).toEqual({ code: 0, bad: [] })
  expect(stdout).not.toMatch(/alice-key/)
  const again = await cli.run(['doctor'], { env: testEnv(folder) })
  expect(again.stdout).toMatch(/^ok {7}database {12}.*will be made/m)
  expect(again.stdout).toMatch(/0 failed/)
})

test('a variable that does not parse, a folder that is a file and a database that is none fail with reasons', async () => {
  const folder = await useFolder()
  const run = async (env: Record<string, string>) => {
    const { code, json } = await cli.run(['doctor', '--json'], { env: { ...testEnv(folder), ...env } })
    const failed = (json as Finding[]).filter(({ status }) => status === 'failed')
    return { code, failed: failed.map(({ check, found }) => `${check}: ${found}`).join('\n') }
  }
  expect(await run({ WORKER_COUNT: 'many' })).toEqual({
    code: 1,
    failed: expect.stringMatching(/^configuration: WORKER_COUNT must be/),
  })
  const file = path.join(folder, 'file')
  await writeFile(file, 'no database, and no folder')
  expect(await run({ STORAGE_ROOT: file })).toEqual({
    code: 1,
    failed: expect.stringMatching(/storage: .* is no folder/),
  })
  expect(await run({ DATABASE_URL: `file:${file}` })).toEqual({
    code: 1,
    failed: expect.stringMatching(/^database: .*not a database/),
  })
  expect(await run({ MIN_FREE_DISK_BYTES: '9007199254740991' })).toEqual({
    code: 1,
    failed: expect.stringMatching(/^room: /),
  })
})

const isRoot = process.getuid?.() === 0
if (isRoot) console.log('doctor: root may write everywhere, so no folder is read-only for it')

test.skipIf(isRoot)('a storage folder that is read-only fails', async () => {
  const folder = await useFolder()
  const files = path.join(folder, 'files')
  await mkdir(files)
  await chmod(files, 0o500)
  const { code, json } = await cli.run(['doctor', '--json'], { env: testEnv(folder) })
  expect(code).toBe(1)
  expect(json.find(({ check }) => check === 'storage')).toMatchObject({ status: 'failed' })
})
