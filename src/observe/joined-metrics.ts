import { AggregatorRegistry, type MetricObjectWithValues, type MetricValue, type Registry } from 'prom-client'

type Metrics = MetricObjectWithValues<MetricValue<string>>[]

/**
 * Where the sum over processes would say nothing, and prom-client has no better idea itself: it leaves the start
 * out, and halves the stalling of one process of two.
 */
const AGGREGATORS: Readonly<Record<string, 'first' | 'max'>> = {
  process_start_time_seconds: 'max',
  nodejs_eventloop_lag_seconds: 'max',
  nodejs_eventloop_lag_p50_seconds: 'max',
  nodejs_eventloop_lag_p90_seconds: 'max',
  nodejs_eventloop_lag_p99_seconds: 'max',
  // The same whoever looks.
  build_info: 'first',
  storage_free_bytes: 'first',
  webhook_pending_events: 'first',
  webhook_oldest_pending_seconds: 'first',
  webhook_dead_events: 'first',
}

/** What only grows, and so is still true of a process that is gone. */
const COUNTS = new Set(['counter', 'histogram'])

/** What a process has counted so far, as text for other processes. */
export const snapshotOf = async (registry: Registry): Promise<string> =>
  JSON.stringify(await registry.getMetricsAsJSON(), (key, value: unknown) =>
    key === 'value' && !Number.isFinite(value) ? String(value) : value,
  )

/** The Prometheus text of several processes together. */
export const renderTogether = (snapshots: readonly string[]): Promise<string> =>
  AggregatorRegistry.aggregate(snapshots.map(read)).metrics()

/** One snapshot of several, of what only grows. */
export const mergeCounts = (snapshots: readonly string[]): Promise<string> =>
  snapshotOf(
    AggregatorRegistry.aggregate(
      snapshots.map((text) => read(text).filter(({ type }) => COUNTS.has(String(type)))),
    ),
  )

function read(text: string): Metrics {
  const metrics = JSON.parse(text, (key, value: unknown) =>
    key === 'value' && typeof value === 'string' ? Number(value) : value,
  ) as Metrics
  return metrics.map((metric) => ({ ...metric, aggregator: AGGREGATORS[metric.name] ?? metric.aggregator }))
}
