import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { sha256 } from '../support/bytes.ts'
import { useFolder } from '../support/folder.ts'
import { useServer } from '../support/server.ts'
import { variablesOf } from '../support/variables.ts'
import { fencesOf, ROOT, walk } from '../support/walkthrough.ts'

const README = readFileSync(path.join(ROOT, 'README.md'), 'utf8')

/** What stands between a heading and the next of its level or above. */
function section(heading: string): string {
  const [, level = ''] = /^(#+) /.exec(heading) ?? []
  const [, rest] = README.split(`\n${heading}\n`)
  if (rest === undefined) throw new Error(`README.md has no "${heading}"`)
  return rest.split(new RegExp(`^#{1,${level.length}} `, 'm'), 1).join()
}

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

test.each([
  ['## tus with curl', 'film.bin'],
  ['## Chunks with curl', 'movie.bin'],
  ['## tus-js-client', 'film.bin'],
  ['## Crossing dialects', 'both.bin'],
])('the commands of "%s" work as written and print what it says', async (heading, sent) => {
  const server = await useServer()
  const folder = await useFolder()
  await walk(fencesOf(section(heading)), server.url, folder)
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

test('the list of tus extensions is the one that OPTIONS tells', async () => {
  const server = await useServer()
  const { headers } = await fetch(`${server.url}/files`, { method: 'OPTIONS' })
  const [, list = ''] = /^Extensions: ([^.]*)\./m.exec(section('## tus with curl')) ?? []
  const told = [...list.matchAll(/`([\w-]+)`/g)].map(([, name = '']) => name)
  expect(told.toSorted()).toEqual((headers.get('tus-extension') ?? '').split(',').toSorted())
})
