/**
 * Import direction: which part of the server may lean on which. Lists every import that runs the wrong
 * way as `file:line  a → b  why` and exits 1. With --self-test it checks a temporary tree instead, with
 * violations of every rule planted in it, and fails unless it finds each of them and nothing else.
 */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { isBuiltin } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, posix, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { PLANTED } from './check-imports/planted.ts'
import { scan } from './check-imports/scan.ts'
import type { Import } from './check-imports/scan.ts'

const ALL = '*'

/** A part of src/ and what it may import besides itself. A file of src/ that is in no row is an error. */
interface Row {
  part: string
  /** other parts, also their values */
  from: readonly string[]
  /** further parts, their types only */
  types?: readonly string[]
  /** npm packages; `type zod` allows only types of it */
  npm: readonly string[]
  node: boolean
}

// prettier-ignore
export const TABLE: readonly Row[] = [
  { part: 'core/',      from: [],                                                  npm: ['type zod'], node: false },
  { part: 'uploads/',   from: ['core/'],                                           npm: [],           node: true },
  { part: 'admission/', from: ['core/'],                                           npm: [ALL],        node: true },
  { part: 'ledger/',    from: ['core/', 'generated/'],                             npm: [ALL],        node: true },
  { part: 'stores/',    from: ['core/'],                                           npm: [ALL],        node: true },
  { part: 'hashing/',   from: ['core/'],                                           npm: [],           node: true },
  { part: 'events/',    from: ['core/'],                                           npm: [ALL],        node: true },
  { part: 'observe/',   from: ['core/'],                                           npm: [ALL],        node: true },
  { part: 'http/',      from: ['core/', 'uploads/'],          types: [ALL],        npm: [ALL],        node: true },
  { part: 'app.ts',     from: ['core/', 'http/', 'observe/'], types: ['uploads/'], npm: [ALL],        node: true },
  { part: 'config/',    from: ['core/'],                                           npm: [ALL],        node: true },
  { part: 'process/',   from: ['core/', 'events/', 'http/', 'ledger/', 'stores/'], types: [ALL], npm: [ALL],        node: true },
  { part: 'console/',   from: [],                                                  npm: [ALL],        node: false },
  { part: 'cli/',       from: ['config/', 'core/', 'ledger/', 'observe/', 'process/'], npm: [ALL],       node: true },
  { part: 'server.ts',  from: [ALL],                                               npm: [ALL],        node: true },
  { part: 'main.ts',    from: [ALL],                                               npm: [ALL],        node: true },
]

/** Only these files know the environment, and nobody imports them: each is a program that starts when it is loaded. */
const MAINS: readonly string[] = ['src/main.ts', 'src/cli/main.ts']
const FOLDERS = ['src', 'test', 'scripts', 'benchmarks']
/** Made by a tool: imported by the rule, not held to it. */
const GENERATED = 'src/generated/'

/** Why this import must not be; null when it may. `file` is relative to the root, with forward slashes. */
export function judge(file: string, { specifier, typeOnly }: Import): string | null {
  const target = specifier && resolve(file, specifier)
  if (target && MAINS.includes(target.replace(/\.js$/, '.ts'))) return 'nobody imports main.ts'
  if (!file.startsWith('src/')) return null

  const row = ruleOf(file)
  if (!row) return 'no rule for this file'
  if (specifier === null) return 'an import whose name is computed can not be checked'
  if (target === null) return judgePackage(row, specifier, typeOnly)
  if (!target.startsWith('src/')) return 'src/ imports nothing from outside src/'

  const reaches = (parts: readonly string[]) => parts.some((part) => part === ALL || isIn(target, part))
  if (isIn(target, row.part) || reaches(row.from)) return null
  if (!reaches(row.types ?? [])) return `${row.part} may import ${list([...row.from, ...(row.types ?? [])])}`
  return typeOnly ? null : `${row.part} may import only types from there`
}

function judgePackage({ part, npm, node }: Row, specifier: string, typeOnly: boolean): string | null {
  if (isBuiltin(specifier)) return node ? null : `${part} imports nothing of Node's`
  const name = specifier.split('/', specifier.startsWith('@') ? 2 : 1).join('/')
  if (npm.includes(ALL) || npm.includes(name)) return null
  if (!npm.includes(`type ${name}`)) return `${part} may import ${list(npm)} of the packages`
  return typeOnly ? null : `${part} may import only types from ${name}`
}

/** The file meant by a relative import, null for a package. */
const resolve = (file: string, specifier: string): string | null =>
  /^(\.|\/|#|file:)/.test(specifier) ? posix.join(posix.dirname(file), specifier) : null

const ruleOf = (file: string): Row | undefined => TABLE.find(({ part }) => isIn(file, part))

const isIn = (file: string, part: string): boolean =>
  part.endsWith('/') ? file.startsWith(`src/${part}`) : file.replace(/\.js$/, '.ts') === `src/${part}`

const list = (names: readonly string[]): string => names.join(', ') || 'nothing else'

/** The offences of every file under `root`, one line each. */
export function check(root: string): string[] {
  return sources(root).flatMap((file) => {
    const { imports, environment, broken } = scan(file, readFileSync(join(root, file), 'utf8'))
    if (broken) return [`${file}:${broken.line}  ${broken.message}`]
    // said once, not for each of its imports
    if (file.startsWith('src/') && !ruleOf(file))
      return [`${file}:1  no rule for this file: add its part of src/ to the table`]
    const offences = imports.flatMap((found) => {
      const why = judge(file, found)
      return why ? [{ line: found.line, to: found.specifier ?? '?', why }] : []
    })
    if (file.startsWith('src/') && !MAINS.includes(file))
      offences.push(
        ...environment.map((line) => ({
          line,
          to: 'process.env',
          why: `only ${MAINS.join(' and ')} read the environment`,
        })),
      )
    return offences.map(({ line, to, why }) => `${file}:${line}  ${file} → ${to}  ${why}`)
  })
}

const sources = (root: string): string[] =>
  FOLDERS.filter((folder) => existsSync(join(root, folder)))
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((name) =>
        `${folder}/${name}`.replaceAll(sep, '/'),
      ),
    )
    .filter((file) => /\.[cm]?[jt]s$/.test(file) && !file.startsWith(GENERATED))
    .toSorted()

/** What is wrong with the check itself: planted violations that it missed, innocent lines that it named. */
export function selfTest(planted: Readonly<Record<string, string>> = PLANTED): string[] {
  const root = mkdtempSync(join(tmpdir(), 'check-imports-'))
  try {
    const wanted = Object.entries(planted).flatMap(([file, code]) => {
      mkdirSync(dirname(join(root, file)), { recursive: true })
      writeFileSync(join(root, file), code)
      return code
        .split('\n')
        .flatMap((line, at) => (line.includes('// planted') ? [`${file}:${at + 1}`] : []))
    })
    const found = check(root).map((offence) => offence.split('  ', 1).join())
    return [
      ...wanted.filter((place) => !found.includes(place)).map((place) => `missed: ${place}`),
      ...found.filter((place) => !wanted.includes(place)).map((place) => `false alarm: ${place}`),
      ...TABLE.filter(({ part }) => !wanted.some((place) => isIn(place.split(':', 1).join(), part))).map(
        ({ part }) => `no violation is planted in ${part}`,
      ),
    ]
  } finally {
    rmSync(root, { recursive: true })
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const testing = process.argv.includes('--self-test')
  const offences = testing ? selfTest() : check(process.cwd())
  for (const offence of offences) console.error(offence)
  const subject = testing ? 'The check of import direction' : 'Import direction'
  console.log(`${subject}: ${offences.length === 0 ? 'fine' : `${offences.length} found`}`)
  process.exitCode = offences.length === 0 ? 0 : 1
}
