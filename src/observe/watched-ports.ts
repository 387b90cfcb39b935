import type { Gate } from '../core/ports/gate.ts'
import type { UploadLedger } from '../core/ports/ledger.ts'
import type { Locker } from '../core/ports/locker.ts'
import type { ChunkStore } from '../core/ports/store.ts'
import type { Listener } from './lifecycle.ts'
import { watchedLedger } from './lifecycle.ts'
import type { Metrics } from './metrics.ts'
import { timedGate, timedStore } from './timed-ports.ts'
import { tracedGate, tracedLedger, tracedLocker, tracedStore } from './traced-ports.ts'
import type { Tracing } from './tracing.ts'

interface Ports<G extends Gate> {
  gate: G
  ledger: UploadLedger
  store: ChunkStore
  locker: Locker
}

interface Watchers {
  metrics: Metrics
  tracing: Tracing | null
  audit: { tell: Listener } | null
}

/** The ports as use cases get them: what passes through is counted, audited and traced, and nobody else knows. */
export function watchedPorts<G extends Gate>(
  ports: Ports<G>,
  { metrics, tracing, audit }: Watchers,
): Ports<G> {
  const counted = {
    gate: timedGate(ports.gate, metrics.observeWait),
    ledger: watchedLedger(ports.ledger, (event) => {
      metrics.observeLife(event)
      audit?.tell(event)
    }),
    store: timedStore(ports.store, metrics.observeStore),
    locker: ports.locker,
  }
  if (!tracing) return counted
  const { begin } = tracing
  return {
    gate: tracedGate(counted.gate, begin),
    ledger: tracedLedger(counted.ledger, begin),
    store: tracedStore(counted.store, begin),
    locker: tracedLocker(counted.locker, begin),
  }
}
