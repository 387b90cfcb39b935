/**
 * Three nodes behind a round-robin proxy, on one PostgreSQL and one S3 (an emulator), all on this machine:
 * uploads through the proxy while the nodes are killed one after another, and compares every file in the
 * end. `npm run cluster-demo -- --help` says what can be set.
 */
import { parseArgs } from 'node:util'
import { startCluster } from './cluster/cluster.ts'
import { startKiller } from './cluster/killer.ts'
import { runWorkload } from './cluster/workload.ts'

const FLAGS = {
  nodes: { type: 'string', default: '3' },
  minutes: { type: 'string', default: '1' },
  'kill-every-seconds': { type: 'string', default: '5' },
  'concurrent-files': { type: 'string', default: '9' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const HELP = `Runs a cluster on this machine, kills its nodes and looks whether anything was lost.

  npm run cluster-demo -- [options]

  --nodes N                 server processes (${FLAGS.nodes.default})
  --minutes N               how long files are begun (${FLAGS.minutes.default})
  --kill-every-seconds N    a node is killed with -9 that often (${FLAGS['kill-every-seconds'].default})
  --concurrent-files N      uploads at a time (${FLAGS['concurrent-files'].default})`

const API_KEY = 'demo-key'
const MIB = 1024 * 1024
const FILE_SIZES = [3_000_000, 23 * MIB + 17, 64 * MIB]
const CHUNK_SIZE_BYTES = 5 * MIB
const DOWN_MS = 1_000

const { values } = parseArgs({ options: FLAGS })
if (values.help) console.log(HELP)
else process.exitCode = await demo()

async function demo(): Promise<number> {
  const [nodes, minutes, killEverySeconds, concurrentFiles] = (
    ['nodes', 'minutes', 'kill-every-seconds', 'concurrent-files'] as const
  ).map((name) => Number(values[name])) as [number, number, number, number]

  console.log('starting PostgreSQL, S3 and the nodes …')
  const cluster = await startCluster({ nodes, apiKey: API_KEY, program: ['dist/main.js'] })
  console.log(`${nodes} nodes behind ${cluster.url}`)
  const started = performance.now()
  const killer = startKiller(cluster.nodes, {
    everyMs: killEverySeconds * 1000,
    downMs: DOWN_MS,
    onKill: (node) => console.log(`kill -9 node ${node + 1}`),
  })
  let result
  try {
    result = await runWorkload({
      baseUrl: cluster.url,
      apiKey: API_KEY,
      forMs: minutes * 60_000,
      concurrentFiles,
      fileSizes: FILE_SIZES,
      chunkSizeBytes: CHUNK_SIZE_BYTES,
    })
  } finally {
    await killer.stop()
    await cluster.close()
  }
  const seconds = (performance.now() - started) / 1000
  const count = Object.values(result.files).reduce((sum, files) => sum + files, 0)
  const kinds = Object.entries(result.files).map(([kind, files]) => `${files} by ${kind}`)
  console.log(
    [
      '',
      `time       ${seconds.toFixed(0)} s`,
      `kills      ${killer.kills()}`,
      `files      ${count} right (${kinds.join(', ')})`,
      `bytes      ${(result.bytes / MIB).toFixed(0)} MiB up, ${(result.bytes / MIB / seconds).toFixed(0)} MiB/s`,
      `requests   ${cluster.served().join(' + ')} by node, ${cluster.moved()} passed on from a dead one`,
      `retries    ${result.retries}, throttled ${result.throttled}`,
      `lost       ${result.lost.length}`,
      ...result.lost.map((line) => `  ${line}`),
    ].join('\n'),
  )
  return result.lost.length > 0 ? 1 : 0
}
