import { setTimeout as sleep } from 'node:timers/promises'
import { diag, DiagLogLevel, type Tracer } from '@opentelemetry/api'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import { BasicTracerProvider, BatchSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base'
import type { Logger } from 'pino'

export interface ExportOptions {
  version: string
  log: Logger
  exporter: SpanExporter
}

/** A collector that is away fails every batch: one line in so long is enough. */
const QUIET_MS = 60_000

/** A tracer whose spans are sampled, batched and sent on, and the end of that. */
export function startExport({ version, log, exporter }: ExportOptions): {
  tracer: Tracer
  close(patienceMs: number): Promise<void>
} {
  hear(log)
  const resource = defaultResource()
    .merge(resourceFromAttributes({ 'service.name': 'upload-server', 'service.version': version }))
    .merge(detectResources({ detectors: [envDetector] }))
  const provider = new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporter)] })
  return {
    tracer: provider.getTracer('upload-server', version),
    async close(patienceMs) {
      // What could not be exported is told through `diag`.
      const over = provider.shutdown().catch(() => {})
      await Promise.race([over, sleep(patienceMs, undefined, { ref: false })])
    },
  }
}

/** What OpenTelemetry has to say goes into the log. Its logger is the process's, by its own design. */
function hear(log: Logger): void {
  let quietUntil = 0
  const warn = (message: string) => {
    const now = performance.now()
    if (now < quietUntil) return
    quietUntil = now + QUIET_MS
    log.warn({ detail: message }, 'tracing')
  }
  const none = () => {}
  diag.setLogger(
    { error: warn, warn, info: none, debug: none, verbose: none },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
}
