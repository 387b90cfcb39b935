import type { Logger } from 'pino'
import type { Webhooks } from '../config/webhooks.ts'
import type { Deliveries } from '../core/events.ts'
import { startDispatcher, type Dispatcher } from '../events/dispatcher.ts'
import { sender } from '../events/send.ts'
import type { WebhookMetrics } from '../observe/webhook-metrics.ts'

const HOUR_MS = 3600 * 1000
/** how long what was delivered is kept, and what was given up; both from when it happened */
const KEEP = { deliveredMs: HOUR_MS, deadMs: 30 * 24 * HOUR_MS }
/** After that long nobody is left, in a change of the configuration, who would tell a former receiver. */
const OTHERS_MS = 24 * HOUR_MS
const SWEEP_MS = 60_000
const BATCH = 1_000
/** of one sweep; what is left is for the next */
const BATCHES = 100

interface WebhookParts {
  webhooks: Webhooks
  deliveries: Deliveries
  metrics: WebhookMetrics
  log: Logger
  version: string
}

/** Tells receivers of events, and forgets what is over. */
export function startWebhooks({ webhooks, deliveries, metrics, log, version }: WebhookParts): Dispatcher {
  metrics.watchBacklog(deliveries.backlog)
  const send = sender({ ...webhooks, version })
  const dispatchers = webhooks.urls.map((endpoint) =>
    startDispatcher({
      endpoint,
      deliveries,
      send,
      limits: webhooks,
      onResult(result, { eventId, attempts }, why) {
        metrics.attemptEnded(result)
        if (result === 'delivered') return
        const fields = { event_id: eventId, receiver: new URL(endpoint).origin, attempts: attempts + 1, why }
        if (result === 'failed') log.warn(fields, 'an event could not be delivered')
        else log.warn(fields, 'an event was given up')
      },
      onTrouble: (error) => log.error({ err: error }, 'events could not be looked up or noted'),
    }),
  )

  const stopping = new AbortController()
  const sweep = async (): Promise<void> => {
    try {
      await deliveries.giveUpOthers(webhooks.urls, OTHERS_MS)
      for (let batches = 0; batches < BATCHES && !stopping.signal.aborted; batches++)
        if ((await deliveries.forget(KEEP, BATCH)) < BATCH) break
    } catch (error) {
      if (!stopping.signal.aborted) log.error({ err: error }, 'old events could not be forgotten')
    }
  }
  void sweep()
  const timer = setInterval(() => void sweep(), SWEEP_MS)

  return {
    async stop(patienceMs) {
      clearInterval(timer)
      stopping.abort()
      // A sweep that is broken off goes on with the next, of any process.
      await Promise.all(dispatchers.map((dispatcher) => dispatcher.stop(patienceMs)))
    },
  }
}
