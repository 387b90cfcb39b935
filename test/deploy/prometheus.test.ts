import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clientOf, patchAt } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { startTestServer, type TestServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus } from '../support/uploading.ts'
import { changed, deployed, findProgram, freePort, launch, missing, ROOT, type Running } from './programs.ts'
import { alerts, panels, withoutVariables } from './expressions.ts'

const promtool = findProgram('promtool')
const prometheus = findProgram('prometheus')
const run = promisify(execFile)
const skipped = promtool && prometheus ? '' : `, skipped: ${missing('prometheus')}`
const TOKEN = 'scrape-me'

/** Panels that tell of failures, refusals, S3 and receivers. */
const OF_WHAT_DID_NOT_HAPPEN = new Set([
  'Chunks that became whole, and failures',
  'Uploads created and completed',
  'Refused, by reason',
  'Not ready',
  'Requests to S3 that were tried again',
  'Attempts to tell a receiver',
])

/** The shipped configuration and rules in a folder, but for where the servers and the token are. */
async function configureIn(folder: string, targets: [string, string]): Promise<string> {
  const token = path.join(folder, 'metrics-token')
  await writeFile(token, TOKEN)
  await cp(deployed('prometheus', 'alerts.yml'), path.join(folder, 'alerts.yml'))
  const file = path.join(folder, 'prometheus.yml')
  const text = changed(await readFile(deployed('prometheus', 'prometheus.yml'), 'utf8'), [
    ['/run/secrets/metrics-token', token],
    ['upload-1:8000', targets[0]],
    ['upload-2:8000', targets[1]],
    // A test does not wait for a quarter of a minute.
    ['scrape_interval: 15s', 'scrape_interval: 1s'],
    ['evaluation_interval: 15s', 'evaluation_interval: 1s'],
  ])
  await writeFile(file, text)
  return file
}

describe.skipIf(skipped !== '')(`Prometheus, as deploy/prometheus has it${skipped}`, () => {
  test('its configuration and its rules are valid', async () => {
    const file = await configureIn(await useFolder(), ['127.0.0.1:1', '127.0.0.1:2'])
    const { stdout } = await run(promtool ?? '', ['check', 'config', file])
    expect(stdout).toContain(`${alerts().length} rules found`)
  })

  test('the alerts fire when they should, and not otherwise', async () => {
    const cases = path.join(ROOT, 'test', 'deploy', 'alerts.cases.yml')
    const { stdout } = await run(promtool ?? '', ['test', 'rules', cases])
    expect(stdout).toContain('SUCCESS')
  })

  test('every query of the dashboard is valid', async () => {
    const rules = panels().flatMap(({ queries }) => queries.map(withoutVariables))
    const file = path.join(await useFolder(), 'dashboard.yml')
    const group = { name: 'dashboard', rules: rules.map((expr, at) => ({ record: `query_${at}`, expr })) }
    await writeFile(file, JSON.stringify({ groups: [group] }))
    await run(promtool ?? '', ['check', 'rules', file])
    expect(rules.length).toBeGreaterThan(20)
  })
})

describe.skipIf(skipped !== '')(`a Prometheus that watches two servers${skipped}`, () => {
  let folder: string
  let servers: [TestServer, TestServer]
  let running: Running
  let url: string

  const query = async (
    expr: string,
  ): Promise<{ metric: Record<string, string>; value: [number, string] }[]> => {
    const response = await fetch(`${url}/api/v1/query?${new URLSearchParams({ query: expr }).toString()}`)
    const { status, data, error } = (await response.json()) as any
    if (status !== 'success') throw new Error(`${expr}: ${error}`)
    return data.result
  }

  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'prometheus-'))
    servers = [
      await startTestServer({ METRICS_TOKEN: TOKEN }),
      await startTestServer({ METRICS_TOKEN: TOKEN }),
    ]
    const [first, second] = servers.map((server) => new URL(server.url).host)
    const config = await configureIn(folder, [first ?? '', second ?? ''])
    const address = `127.0.0.1:${await freePort()}`
    url = `http://${address}`
    running = launch(prometheus ?? '', [
      `--config.file=${config}`,
      `--storage.tsdb.path=${path.join(folder, 'data')}`,
      `--web.listen-address=${address}`,
    ])
    const ready = async () => (await fetch(`${url}/-/ready`).catch(() => null))?.status === 200
    await eventually(ready, 'Prometheus is ready', 30_000)
  })
  afterAll(async () => {
    await running?.stop()
    await Promise.all(servers.map((server) => server.close()))
    await rm(folder, { recursive: true, force: true })
  })

  test('reaches both, with the token', async () => {
    await eventually(async () => (await query('up == 1')).length === 2, 'both are up', 30_000)
  })

  test('gets an answer to every query of the dashboard that an upload gives one to', async () => {
    const call = clientOf(servers[0].url)
    const id = await createByTus(call, 5)
    await call('PATCH', `/files/${id}`, {
      headers: patchAt(0),
      body: 'hello',
    })
    const silent = async (): Promise<string[]> => {
      const found: string[] = []
      for (const { title, queries } of panels())
        for (const expr of queries) if ((await query(withoutVariables(expr))).length === 0) found.push(title)
      return found
    }
    // Rates come with the second scrape of a counter.
    let empty: string[] = []
    const spoke = async () => (empty = await silent()).every((title) => OF_WHAT_DID_NOT_HAPPEN.has(title))
    await eventually(spoke, 'every other panel has something to show', 30_000).catch((error: Error) => {
      throw new Error(`${error.message}; empty: ${empty.join(', ')}`)
    })
    const bytes = 'sum(bytes_uploaded_total{job="upload-server"}) == 5'
    expect(await query(bytes)).toHaveLength(1)
  })

  test('has loaded the alerts, and fires the one of a server that is gone', async () => {
    await servers[1].close()
    await eventually(
      async () => (await query('ALERTS{alertname="UploadServerDown", alertstate="pending"}')).length === 1,
      'the alert is pending',
      30_000,
    )
  })
})
