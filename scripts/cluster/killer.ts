import { setTimeout as sleep } from 'node:timers/promises'
import type { ClusterNode } from './node.ts'

export interface Killer {
  kills(): number
  /** Stops killing; resolves when every node is up again. */
  stop(): Promise<void>
}

/** Kills one node after another with -9, every `everyMs`, and starts each again after `downMs`. */
export function startKiller(
  nodes: readonly ClusterNode[],
  { everyMs, downMs, onKill }: { everyMs: number; downMs: number; onKill: (node: number) => void },
): Killer {
  const stopping = new AbortController()
  let kills = 0

  const pause = (ms: number) => sleep(ms, undefined, { signal: stopping.signal }).catch(() => {})
  const run = async (): Promise<void> => {
    for (let turn = 0; !stopping.signal.aborted; turn++) {
      await pause(everyMs)
      if (stopping.signal.aborted) return
      const index = turn % nodes.length
      const node = nodes[index] as ClusterNode
      await node.kill()
      kills += 1
      onKill(index)
      await pause(downMs)
      await node.start()
    }
  }
  const running = run()
  return {
    kills: () => kills,
    async stop() {
      stopping.abort()
      await running
    },
  }
}
