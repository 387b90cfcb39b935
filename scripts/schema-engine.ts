import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3'
import {
  bindMigrationAwareSqlAdapterFactory,
  type SqlDriverAdapter,
  type SqlMigrationAwareDriverAdapterFactory,
} from '@prisma/driver-adapter-utils'
import * as bindings from '@prisma/schema-engine-wasm/schema_engine_bg'
import type { DiffParams, DiffResult } from '@prisma/schema-engine-wasm/schema_engine_bg'
import type Database from 'better-sqlite3'
import { readFileSync } from 'node:fs'

export interface SchemaEngine {
  diff(params: DiffParams): Promise<DiffResult>
  free(): void
}

// Node has it; TypeScript knows it from the browser's library only.
declare const WebAssembly: {
  Module: new (bytes: Uint8Array) => object
  Instance: new (module: object, imports: object) => { exports: Record<string, unknown> }
}

let loaded = false

/** Prisma's schema engine as WebAssembly, on an empty database in memory: no download, no server. */
export async function schemaEngine(): Promise<SchemaEngine> {
  if (!loaded) loadWasm()
  loaded = true
  const factory = bindMigrationAwareSqlAdapterFactory(memoryDatabase())
  return bindings.SchemaEngine.new({ datamodels: undefined }, () => {}, factory)
}

function loadWasm(): void {
  // What went wrong inside, if the engine panics, is left here by the engine.
  Object.assign(globalThis, {
    PRISMA_WASM_PANIC_REGISTRY: {
      set_message(message: string) {
        console.error(message)
      },
    },
  })
  const file = new URL(
    'schema_engine_bg.wasm',
    import.meta.resolve('@prisma/schema-engine-wasm/schema_engine_bg'),
  )
  const module = new WebAssembly.Module(readFileSync(file))
  const { exports } = new WebAssembly.Instance(module, { './schema_engine_bg.js': bindings })
  bindings.__wbg_set_wasm(exports)
  const start = exports['__wbindgen_start'] as () => void
  start()
}

function memoryDatabase(): SqlMigrationAwareDriverAdapterFactory {
  const stock = new PrismaBetterSqlite3({ url: ':memory:' })
  const connect = async () => suited((await stock.connect()) as Stock)
  return { provider: 'sqlite', adapterName: stock.adapterName, connect, connectToShadowDb: connect }
}

type Stock = SqlDriverAdapter & { client: Database.Database }

/** The stock adapter, as the engine needs it on our driver. */
function suited(adapter: Stock): SqlDriverAdapter {
  const { client } = adapter
  const prepare = client.prepare.bind(client)
  // The driver has no Statement.bind.
  const lateBound = (sql: string) => {
    const statement = prepare(sql)
    return {
      bind: (args: unknown[]) => ({
        reader: statement.reader,
        run: () => statement.run(args),
        columns: () => statement.columns(),
        raw: () => ({ all: () => statement.raw().all(args) }),
      }),
    }
  }
  client.prepare = lateBound as unknown as typeof client.prepare

  // A replayed migration comes as one call, and `executeRaw` runs a single statement.
  const executeRaw = adapter.executeRaw.bind(adapter)
  adapter.executeRaw = async (query) => {
    if (query.args.length > 0) return executeRaw(query)
    await adapter.executeScript(query.sql)
    return 0
  }
  return adapter
}
