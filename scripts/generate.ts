// Prisma's client, out of the schema that is written by hand. One does for both databases: the server takes its
// SQL builder and its types from it, and statements go to the driver adapters.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { schemaFor } from './schemas.ts'

const ROOT = join(import.meta.dirname, '..')
const GENERATED = join(ROOT, 'src', 'generated')

const schema = readFileSync(join(ROOT, 'prisma', 'schema.prisma'), 'utf8')
mkdirSync(GENERATED, { recursive: true })
const file = join(GENERATED, 'sqlite.prisma')
writeFileSync(file, schemaFor('sqlite', schema))
const prisma = join(ROOT, 'node_modules', 'prisma', 'build', 'index.js')
const { status, error } = spawnSync(process.execPath, [prisma, 'generate', '--schema', file], {
  cwd: ROOT,
  stdio: 'inherit',
})
if (error) throw error
process.exitCode = status ?? 1
