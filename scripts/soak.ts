/**
 * Uploads to a server that is killed, shut down, cut off and left without room, and looks whether anything was
 * lost. `npm run soak -- --help` says how.
 */
import path from 'node:path'
import { seededRandom, startProxy } from '../test/support/proxy.ts'
import { createNode } from './cluster/node.ts'
import { newClient, type Answer, type Client } from './load-test/client.ts'
import { newTally } from './load-test/tally.ts'
import { startChaos } from './soak/chaos.ts'
import { makeDisk } from './soak/disk.ts'
import { parseOptions, type Options } from './soak/options.ts'
import { progressLine, tableOf } from './soak/report.ts'
import { createWorkload } from './soak/workload.ts'

const MIB = 1024 * 1024
const API_KEY = 'soak-key'
const CHUNK_SIZE_BYTES = MIB
const FILE_SIZES = [0, 1, 100_000, 3 * MIB + 1, 10 * MIB, 24 * MIB - 7]
/** Connections are cut after so many bytes, at random up to here. */
const LONGEST_CONNECTION_BYTES = 64 * MIB

const parsed = parseOptions(process.argv.slice(2))
if ('help' in parsed) console.log(parsed.help)
else if ('problem' in parsed) {
  console.error(`${parsed.problem}\nTry --help.`)
  process.exitCode = 2
} else process.exitCode = await soak(parsed.options)

async function soak(options: Options): Promise<number> {
  const random = seededRandom(options.seed)
  const disk = await makeDisk(options.diskBytes)
  if (disk.unfillable !== null) console.log(`The disk is never full: ${disk.unfillable}.`)
  const node = await createNode([path.join(import.meta.dirname, '..', 'dist', 'main.js')], {
    DATABASE_URL: `file:${path.join(disk.folder, 'uploads.db')}`,
    STORAGE_ROOT: path.join(disk.folder, 'files'),
    API_KEY_MAPPINGS: `${API_KEY}:soaker`,
    CHUNK_SIZE_BYTES: String(CHUNK_SIZE_BYTES),
    MIN_FREE_DISK_BYTES: '0',
    SHUTDOWN_GRACE_SECONDS: '3',
    LOG_LEVEL: 'error',
  })
  await node.start()
  const proxy = await startProxy(node.url, {
    cutAfterBytes: () => Math.ceil(random() * LONGEST_CONNECTION_BYTES),
  })
  const tally = newTally()
  const noRoom = { times: 0 }
  const client = patient(
    newClient({ baseUrl: proxy.url, apiKey: API_KEY, sockets: options.files * 4, maxRetries: 1_000 }, tally),
    noRoom,
  )
  const workload = createWorkload(
    {
      baseUrl: proxy.url,
      forMs: options.minutes * 60_000,
      files: options.files,
      fileSizes: FILE_SIZES,
      chunkSizeBytes: CHUNK_SIZE_BYTES,
      keptBytes: options.diskBytes / 4,
      random,
    },
    client,
    tally,
  )

  const cleanUp = async () => {
    client.close()
    await proxy.close()
    await node.kill()
    await disk.remove()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().finally(() => process.exit(130)))

  const started = performance.now()
  const chaos = startChaos({ node, proxy, disk, random })
  const progress = setInterval(() => console.log(progressLine(workload.work, chaos.harm, started)), 15_000)
  try {
    await workload.run()
    await chaos.stop()
    await workload.verifyAll()
  } finally {
    clearInterval(progress)
    await cleanUp()
  }
  // A 503 or a 507 is an answer to a fault; a 500 is one of ours.
  const bugs = node.errors.filter((text) => !/"status":50[37]/.test(text))
  const lost = [...workload.work.lost, ...chaos.harm.badShutdowns, ...bugs]
  console.log(
    tableOf({
      options,
      disk,
      work: workload.work,
      harm: chaos.harm,
      tally,
      noRoom: noRoom.times,
      cuts: proxy.cuts(),
    }),
  )
  for (const what of lost) console.log(what)
  console.log(`lost ${lost.length}`)
  return lost.length > 0 ? 1 : 0
}

/** A client that waits for room on the disk as for anything else. */
function patient(client: Client, noRoom: { times: number }): Client {
  const counted = async (ask: (afterFailure: boolean) => Promise<Answer>, afterFailure: boolean) => {
    const answer = await ask(afterFailure)
    if (answer.status === 507) noRoom.times += 1
    return answer
  }
  return {
    ...client,
    persist: (ask, alsoPassing = []) =>
      client.persist((afterFailure) => counted(ask, afterFailure), [...alsoPassing, 507]),
  }
}
