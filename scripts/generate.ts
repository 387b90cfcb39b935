// Prisma's clients, one for each database, out of the one schema that is written by hand.
import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PROVIDERS, schemaFor } from './schemas.ts'

const ROOT = join(import.meta.dirname, '..')
const GENERATED = join(ROOT, 'src', 'generated')

const schema = readFileSync(join(ROOT, 'prisma', 'schema.prisma'), 'utf8')
mkdirSync(GENERATED, { recursive: true })
for (const provider of PROVIDERS) {
  const file = join(GENERATED, `${provider}.prisma`)
  writeFileSync(file, schemaFor(provider, schema))
  const prisma = join(ROOT, 'node_modules', 'prisma', 'build', 'index.js')
  const { status, error } = spawnSync(process.execPath, [prisma, 'generate', '--schema', file], {
    cwd: ROOT,
    stdio: 'inherit',
  })
  if (error) throw error
  if (status !== 0) process.exit(status ?? 1)
}
