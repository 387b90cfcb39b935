import { defineConfig } from 'prisma/config'

// Every command, even `generate`, first insists on a native schema engine and downloads one where it
// finds none. `generate`, `validate` and `format` never start it: any file that exists will do.
process.env.PRISMA_SCHEMA_ENGINE_BINARY ??= import.meta.filename

export default defineConfig({
  schema: 'prisma/schema.prisma',
  migrations: { path: 'prisma/migrations/sqlite' },
})
