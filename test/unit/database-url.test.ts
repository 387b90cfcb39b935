import { expect, it } from 'vitest'
import { providerOf, shownUrl, sqlitePath } from '../../src/ledger/url.ts'

it.each([
  ['file:./data/a.db', 'sqlite'],
  ['sqlite:a.db', 'sqlite'],
  ['postgresql://localhost/a', 'postgresql'],
  ['postgres://localhost/a', 'postgresql'],
])('%s is of %s', (url, provider) => {
  expect(providerOf(url)).toBe(provider)
})

it.each(['mysql://localhost/a', 'postgresql:a', 'POSTGRES', 'file:', ''])('%j is of no database', (url) => {
  expect(() => providerOf(url)).toThrow(/DATABASE_URL/)
})

it.each([
  ['file:./a.db', './a.db'],
  ['file:/var/a.db?x=1', '/var/a.db'],
  ['file:///var/a.db', '/var/a.db'],
  ['sqlite:a.db', 'a.db'],
])('%s is the file %s', (url, path) => {
  expect(sqlitePath(url)).toBe(path)
})

it.each([
  ['file:./a.db', 'file:./a.db'],
  ['postgresql://ada:secret@db.example:5432/uploads', 'postgresql://ada@db.example:5432/uploads'],
  ['postgres://ada:s%2Fecret%40@[::1]/uploads', 'postgres://ada@[::1]/uploads'],
  ['postgresql://db.example/uploads?password=secret&user=ada', 'postgresql://db.example/uploads'],
  ['postgresql:///uploads?host=/var/run/postgresql&password=secret', 'postgresql:///uploads'],
  ['postgresql://:secret@db.example/uploads#secret', 'postgresql://db.example/uploads'],
])('%s is shown as %s', (url, shown) => {
  expect(shownUrl(url)).toBe(shown)
})
