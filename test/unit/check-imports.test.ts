import { describe, expect, test } from 'vitest'
import { judge, selfTest, TABLE } from '../../scripts/check-imports.ts'
import { PLANTED } from '../../scripts/check-imports/planted.ts'
import { scan } from '../../scripts/check-imports/scan.ts'

const importsOf = (code: string) =>
  scan('file.ts', code).imports.map(({ specifier, typeOnly, line }) => [specifier, typeOnly, line])

describe('the scanner', () => {
  test.each([
    [`import { a } from './a.ts'`, './a.ts', false],
    [`import a, { type B } from './a.ts'`, './a.ts', false],
    [`import { type A, b } from './a.ts'`, './a.ts', false],
    [`import * as a from './a.ts'`, './a.ts', false],
    [`import './a.ts'`, './a.ts', false],
    [`import type { A } from './a.ts'`, './a.ts', true],
    [`import { type A, type B } from './a.ts'`, './a.ts', true],
    [`import type A from './a.ts'`, './a.ts', true],
    [`export { a } from './a.ts'`, './a.ts', false],
    [`export * from './a.ts'`, './a.ts', false],
    [`export type { A } from './a.ts'`, './a.ts', true],
    [`export { type A } from './a.ts'`, './a.ts', true],
    [`export type * from './a.ts'`, './a.ts', true],
    [`const a = await import('./a.ts')`, './a.ts', false],
    ['const a = await import(name)', null, false],
    [`type A = import('./a.ts').A`, './a.ts', true],
    [`const a: typeof import('./a.ts') = b`, './a.ts', true],
    [`const a = require('./a.ts')`, './a.ts', false],
    [`import a = require('./a.ts')`, './a.ts', false],
  ])('%s', (code, specifier, typeOnly) => {
    expect(importsOf(`\n${code}\n`)).toEqual([[specifier, typeOnly, 2]])
  })

  test('takes comments, strings, templates and patterns for what they are', () => {
    const code = [
      `// import a from 'a'`,
      `/* import('b') */`,
      `const c = "import c from 'c'"`,
      'const d = `import d from "d" ${1}`',
      `const e = /import e from 'e'/`,
      `const { env } = options`,
    ].join('\n')
    expect(scan('file.ts', code)).toEqual({ imports: [], environment: [] })
  })

  test('tells where a file does not parse', () => {
    expect(scan('file.ts', 'const a = 1\nconst = 2\n').broken?.line).toBe(2)
  })
})

describe('the table', () => {
  const value = (specifier: string) => ({ specifier, typeOnly: false, line: 1 })
  const type = (specifier: string) => ({ specifier, typeOnly: true, line: 1 })

  test('lets http/ import the values of uploads/ and of other parts only types', () => {
    expect(judge('src/http/tus.ts', value('../uploads/append.ts'))).toBeNull()
    expect(judge('src/http/tus.ts', type('../ledger/ledger.ts'))).toBeNull()
    expect(judge('src/http/tus.ts', value('../ledger/ledger.ts'))).toMatch(/only types/)
  })

  test('has nobody import main.ts, not even its types', () => {
    expect(judge('src/app.ts', type('./main.ts'))).toMatch(/main/)
    expect(judge('scripts/migrate.ts', value('../src/main.ts'))).toMatch(/main/)
    expect(judge('test/http/tus.test.ts', value('../../src/main.js'))).toMatch(/main/)
  })

  test('allows no package whose name only begins like an allowed one', () => {
    expect(judge('src/core/upload.ts', type('zod/v4'))).toBeNull()
    expect(judge('src/core/upload.ts', type('zod-form-data'))).not.toBeNull()
  })
})

describe('the self-test', () => {
  test('finds every planted violation and nothing else', () => {
    expect(selfTest()).toEqual([])
  })

  test('fails on a violation that the check misses', () => {
    const innocent = `import { append } from './append.ts' // planted\n`
    expect(selfTest({ ...PLANTED, 'src/uploads/extra.ts': innocent })).toEqual([
      'missed: src/uploads/extra.ts:1',
    ])
  })

  test('fails on an innocent line that the check names', () => {
    const guilty = `\nimport { tus } from '../http/tus.ts'\n`
    expect(selfTest({ ...PLANTED, 'src/uploads/extra.ts': guilty })).toEqual([
      'false alarm: src/uploads/extra.ts:2',
    ])
  })

  test('fails when a part of the table has no violation planted in it', () => {
    expect(selfTest({})).toEqual(TABLE.map(({ part }) => `no violation is planted in ${part}`))
  })
})
