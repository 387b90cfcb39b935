import { expect, onTestFinished, test } from 'vitest'
import { startCluster } from '../../scripts/cluster/cluster.ts'
import { startKiller } from '../../scripts/cluster/killer.ts'
import { runWorkload } from '../../scripts/cluster/workload.ts'
import { buildServer } from '../support/built-server.ts'
import { findPostgres } from '../support/postgres.ts'

/** `npm run cluster-demo` is the same for as long as you like. */
const SECONDS = Number(process.env['CLUSTER_SECONDS'] ?? 20)
const MIB = 1024 * 1024

const postgres = await findPostgres()

test.skipIf(!postgres.available)(
  'three nodes that are killed with -9 in turn lose nothing of what goes through them',
  { timeout: (SECONDS + 240) * 1000 },
  async () => {
    const { main, remove } = await buildServer()
    onTestFinished(remove)
    const cluster = await startCluster({ nodes: 3, apiKey: 'test-key', program: [main] })
    onTestFinished(() => cluster.close())
    const killer = startKiller(cluster.nodes, { everyMs: 2_500, downMs: 500, onKill: () => {} })
    const result = await runWorkload({
      baseUrl: cluster.url,
      apiKey: 'test-key',
      forMs: SECONDS * 1000,
      concurrentFiles: 6,
      fileSizes: [300_000, 12 * MIB + 17, 24 * MIB],
      chunkSizeBytes: 5 * MIB,
    })
    await killer.stop()

    expect(result.lost).toEqual([])
    // Otherwise nothing was tried.
    expect(killer.kills()).toBeGreaterThanOrEqual(3)
    expect(Math.min(...Object.values(result.files))).toBeGreaterThan(0)
    expect(Math.min(...cluster.served())).toBeGreaterThan(0)
  },
)
