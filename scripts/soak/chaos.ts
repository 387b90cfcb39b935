import { setTimeout as sleep } from 'node:timers/promises'
import type { Proxy } from '../../test/support/proxy.ts'
import type { ClusterNode } from '../cluster/node.ts'
import type { Disk } from './disk.ts'

/** What was done to the server, how often. */
export interface Harm {
  kills: number
  shutdowns: number
  /** shutdowns that did not end with 0 */
  badShutdowns: string[]
  cuts: number
  silences: number
  fullDisks: number
}

export interface Chaos {
  readonly harm: Harm
  /** Ends it; resolves when the server is up, on the network, and has room. */
  stop(): Promise<void>
}

interface Target {
  node: ClusterNode
  proxy: Proxy
  disk: Disk
  random: () => number
}

/** Pauses between two blows, at random up to here. */
const LONGEST_PEACE_MS = 3_000
const LONGEST_OUTAGE_MS = 1_500
const LONGEST_SILENCE_MS = 5_000
const LONGEST_FULL_MS = 8_000

/** One blow after another, chosen at random. A disk stays full while others fall. */
export function startChaos({ node, proxy, disk, random }: Target): Chaos {
  const harm: Harm = { kills: 0, shutdowns: 0, badShutdowns: [], cuts: 0, silences: 0, fullDisks: 0 }
  const stopping = new AbortController()
  let full: Promise<void> | null = null

  const pause = (ms: number) => sleep(ms, undefined, { signal: stopping.signal }).catch(() => {})
  const upTo = (ms: number) => random() * ms

  const fillUp = async () => {
    harm.fullDisks += 1
    await disk.fill()
    await pause(upTo(LONGEST_FULL_MS))
    await disk.empty()
    full = null
  }

  const blows: (() => Promise<void>)[] = [
    async () => {
      await node.kill()
      harm.kills += 1
      await pause(upTo(LONGEST_OUTAGE_MS))
      await node.start()
    },
    async () => {
      const code = await node.stop()
      harm.shutdowns += 1
      if (code !== 0) harm.badShutdowns.push(`a shutdown ended with ${code}`)
      await pause(upTo(LONGEST_OUTAGE_MS))
      await node.start()
    },
    async () => {
      proxy.cut()
      harm.cuts += 1
    },
    async () => {
      // Until some box on the way forgets the connections.
      proxy.silence()
      harm.silences += 1
      await pause(upTo(LONGEST_SILENCE_MS))
      proxy.cut()
      proxy.restore()
    },
    async () => {
      if (disk.unfillable === null) full ??= fillUp()
    },
  ]

  const run = async () => {
    while (!stopping.signal.aborted) {
      await pause(upTo(LONGEST_PEACE_MS))
      if (!stopping.signal.aborted) await blows[Math.floor(upTo(blows.length))]?.()
    }
  }
  const running = run()
  // Whoever stops it learns of a server that does not start any more; until then nothing gets through.
  running.catch((error: unknown) => console.error(error))

  return {
    harm,
    async stop() {
      stopping.abort()
      await running
      await full
    },
  }
}
