import { Counter, Gauge, type Registry } from 'prom-client'
import type { Backlog } from '../core/events.ts'

export interface WebhookMetrics {
  attemptEnded(result: 'delivered' | 'failed' | 'dead'): void
  /** Asks at each scrape how much waits, in the database. */
  watchBacklog(read: () => Promise<Backlog>): void
}

const NOTHING: Backlog = { pending: 0, dead: 0, ageMs: 0 }

export function createWebhookMetrics(registry: Registry): WebhookMetrics {
  const registers = [registry]
  const attempts = new Counter({
    name: 'webhook_attempts_total',
    help: 'Attempts to deliver an event to a receiver.',
    labelNames: ['result'],
    registers,
  })
  let read = async () => NOTHING
  let looking: Promise<Backlog> | null = null
  /** One look for all gauges of a scrape. Where the database is away, they stay as they were. */
  const look = (): Promise<Backlog> => {
    looking ??= read().finally(() => (looking = null))
    return looking
  }
  const gauge = (name: string, help: string, of: (backlog: Backlog) => number) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        const backlog = await look().catch(() => null)
        if (backlog) this.set(of(backlog))
      },
    })
  gauge('webhook_pending_events', 'Events that wait to be delivered.', ({ pending }) => pending)
  gauge('webhook_oldest_pending_seconds', 'Age of the oldest of them.', ({ ageMs }) => ageMs / 1000)
  gauge('webhook_dead_events', 'Events that were given up.', ({ dead }) => dead)
  return {
    attemptEnded: (result) => attempts.inc({ result }),
    watchBacklog(watched) {
      read = watched
    },
  }
}
