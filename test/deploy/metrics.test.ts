import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { clientOf } from '../support/client.ts'
import { useServer } from '../support/server.ts'
import { alerts, askedFor, dashboard, panels } from './expressions.ts'
import { ROOT } from './programs.ts'

const expressions = () => [
  ...alerts().map(({ alert, expr }) => ({ of: alert, expr })),
  ...panels().flatMap(({ title, queries }) => queries.map((expr) => ({ of: title, expr }))),
]

/** What Prometheus adds to what it scrapes. */
const OF_PROMETHEUS = ['job', 'instance']

test('every metric that a panel or an alert asks for is served', async () => {
  const { url } = await useServer()
  const text = await (await fetch(`${url}/metrics`)).text()
  const served = new Set(['up'])
  for (const [, name = '', type] of text.matchAll(/^# TYPE (\w+) (\w+)/gm))
    for (const ending of type === 'histogram' ? ['_bucket', '_count', '_sum'] : [''])
      served.add(name + ending)
  for (const { of, expr } of expressions())
    for (const name of askedFor(expr).metrics.keys()) expect(served, `${of} asks for ${name}`).toContain(name)
})

test('every label that a panel or an alert asks for is one that docs/metrics.md tells of', () => {
  const page = readFileSync(path.join(ROOT, 'docs', 'metrics.md'), 'utf8')
  const rows = [...page.matchAll(/^\| `(\w+)` \| \w+ \| ((?:`\w+`(?:, )?)*) ?\| /gm)]
  const labelsOf = new Map(
    rows.map(([, name = '', labels = '']) => [name, [...labels.matchAll(/\w+/g)].map(([label]) => label)]),
  )
  for (const { of, expr } of expressions()) {
    const { metrics, grouping } = askedFor(expr)
    const known = [...metrics.keys()].flatMap(
      (name) => labelsOf.get(name.replace(/_(bucket|count|sum)$/, '')) ?? [],
    )
    const asked = [...[...metrics.values()].flat(), ...grouping]
    for (const label of asked)
      expect([...known, ...OF_PROMETHEUS, 'le'], `${of} asks for ${label}`).toContain(label)
  }
})

test('every route and reason that a panel or an alert names is one that the server knows', async () => {
  const { url } = await useServer()
  for (const route of ['/ready', '/health', '/metrics'])
    expect((await clientOf(url, null)('GET', route)).status).toBe(200)
  const named = expressions().flatMap(({ expr }) => [...expr.matchAll(/route[!=]~?="?([^"]+)"/g)])
  const routes = named.flatMap(([, value = '']) => value.replaceAll('"', '').split('|'))
  expect(routes.length).toBeGreaterThan(0)
  for (const route of routes) expect(['/ready', '/health', '/metrics']).toContain(route)
})

test('every alert says how bad it is, what it is, and what to do', () => {
  const operations = readFileSync(path.join(ROOT, 'docs', 'operations.md'), 'utf8')
  for (const { alert, labels, annotations } of alerts()) {
    expect(['warning', 'critical'], `severity of ${alert}`).toContain(labels['severity'])
    for (const name of ['summary', 'description', 'runbook'])
      expect(annotations[name], `${alert}: ${name}`).toMatch(/\w/)
    expect(operations, `docs/operations.md has a row for ${alert}`).toContain(`| \`${alert}\` |`)
  }
})

test('the panels of the dashboard have their own ids and do not lie on one another', () => {
  const all = panels()
  expect(new Set(all.map(({ id }) => id)).size).toBe(all.length)
  for (const [at, { title, gridPos: a }] of all.entries()) {
    expect(a.x + a.w, `width of ${title}`).toBeLessThanOrEqual(24)
    for (const { title: other, gridPos: b } of all.slice(at + 1))
      expect(
        a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h,
        `${title} lies on ${other}`,
      ).toBe(false)
  }
})

test('the dashboard asks the chosen Prometheus for the chosen servers', () => {
  expect(dashboard().templating.list.map(({ name }: { name: string }) => name)).toEqual([
    'datasource',
    'job',
    'instance',
  ])
  for (const { targets = [] } of dashboard().panels)
    for (const { datasource, expr } of targets) {
      expect(datasource.uid).toBe('${datasource}')
      expect(expr).toContain('job="$job", instance=~"$instance"')
    }
})
