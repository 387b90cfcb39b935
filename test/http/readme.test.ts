import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { readFile, symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { sha256 } from '../support/bytes.ts'
import { useFolder } from '../support/folder.ts'
import { ALICE, useServer } from '../support/server.ts'
import { variablesOf } from '../support/variables.ts'

const ROOT = path.join(import.meta.dirname, '..', '..')
const README = readFileSync(path.join(ROOT, 'README.md'), 'utf8')

interface Fence {
  language: string
  text: string
}

/** What stands between a heading and the next of its level or above. */
function section(heading: string): string {
  const [, level = ''] = /^(#+) /.exec(heading) ?? []
  const [, rest] = README.split(`\n${heading}\n`)
  if (rest === undefined) throw new Error(`README.md has no "${heading}"`)
  return rest.split(new RegExp(`^#{1,${level.length}} `, 'm'), 1).join()
}

const fencesOf = (text: string): Fence[] =>
  [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].map(([, language = '', body = '']) => ({
    language,
    text: body,
  }))

/** The cells of each row of the first table, without the marks of code. */
const tableOf = (text: string): string[][] => {
  const lines = text.slice(text.search(/^\|/m)).split('\n')
  const end = lines.findIndex((line) => !line.startsWith('|'))
  return lines.slice(2, end).map((line) =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim().replace(/^`(.*)`$/, '$1')),
  )
}

/** What differs from run to run becomes the same; so does the order of what runs in parallel. */
const comparable = (output: string): string[] =>
  output
    .replaceAll('\r', '')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT/g, 'DATE')
    .replace(/^[\w-]+(?=: )/gm, (header) => header.toLowerCase())
    .trim()
    .split('\n')
    .toSorted()

test.each([
  ['## tus with curl', 'film.bin'],
  ['## Chunks with curl', 'movie.bin'],
  ['## tus-js-client', 'film.bin'],
  ['## Crossing dialects', 'both.bin'],
])('the commands of "%s" work as written and print what it says', async (heading, sent) => {
  const server = await useServer()
  const folder = await useFolder()
  const here = (text: string) =>
    text.replaceAll('http://127.0.0.1:8000', server.url).replaceAll('dev-key', ALICE)
  const fences = fencesOf(section(heading)).map(({ language, text }) => ({ language, text: here(text) }))
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  for (const { language, text } of fences)
    if (language === 'js') await writeFile(path.join(folder, 'upload.mjs'), text)

  // What a step prints stands right behind it.
  const steps = fences.flatMap(({ language, text }, at) => {
    const next = fences[at + 1]
    return language === 'sh' ? [{ text, told: next?.language === 'text' ? next.text : '' }] : []
  })
  const script = steps.map(({ text }) => `${text}\nprintf '\\f'\n`).join('')
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder })
  const printed = stdout.split('\f')

  expect(steps.length).toBeGreaterThan(0)
  for (const [step, { text, told }] of steps.entries())
    expect({ text, printed: comparable(printed[step] ?? '') }).toEqual({ text, printed: comparable(told) })
  const received = await readFile(path.join(folder, 'received.bin'))
  expect(received).toHaveLength(12_000_000)
  expect(sha256(received)).toBe(sha256(await readFile(path.join(folder, sent))))
})

const variables = () => ({
  ...variablesOf(path.join(ROOT, 'src/config/config.ts')),
  ...variablesOf(path.join(ROOT, 'src/config/variables.ts')),
})

test('the table of configuration has exactly the variables that are read, with their defaults', () => {
  const told = tableOf(section('## Configuration')).map(([name, standard]) => [name, standard])
  expect(Object.fromEntries(told)).toEqual(variables())
  expect(told).toHaveLength(new Set(told.map(([name]) => name)).size)
})

test('.env.example has exactly the variables that are read, commented out, with their defaults', () => {
  const lines = readFileSync(path.join(ROOT, '.env.example'), 'utf8').matchAll(
    /^# ?([A-Z][A-Z0-9_]*)=(.*)$/gm,
  )
  const told = [...lines].map(([, name, standard]) => [name, standard])
  expect(Object.fromEntries(told)).toEqual(variables())
})

test('the table of metrics has exactly the metrics that are served, but those of Node', async () => {
  const server = await useServer()
  const text = await (await fetch(`${server.url}/metrics`)).text()
  const served = [...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name)
  const ours = served.filter((name) => !/^(process|nodejs)_/.test(name))
  const told = tableOf(section('### Metrics')).map(([name = '']) => name)
  expect(told.toSorted()).toEqual(ours.toSorted())
})

test('the list of tus extensions is the one that OPTIONS tells', async () => {
  const server = await useServer()
  const { headers } = await fetch(`${server.url}/files`, { method: 'OPTIONS' })
  const [, list = ''] = /^Extensions: ([^.]*)\./m.exec(section('## tus with curl')) ?? []
  const told = [...list.matchAll(/`([\w-]+)`/g)].map(([, name = '']) => name)
  expect(told.toSorted()).toEqual((headers.get('tus-extension') ?? '').split(',').toSorted())
})
