import type { Logger } from 'pino'
import type { SpanExporter } from '@opentelemetry/sdk-trace-base'
import { startTracing, type Tracing } from './tracing.ts'

export interface OtlpOptions {
  protocol: 'http/protobuf' | 'http/json'
  version: string
  log: Logger
}

/** Where spans go, how and with which headers, the exporter reads from the standard variables itself. */
export const traceByOtlp = async ({ protocol, ...options }: OtlpOptions): Promise<Tracing> =>
  startTracing({ ...options, exporter: await exporterFor(protocol) })

async function exporterFor(protocol: OtlpOptions['protocol']): Promise<SpanExporter> {
  const { OTLPTraceExporter } =
    protocol === 'http/json'
      ? await import('@opentelemetry/exporter-trace-otlp-http')
      : await import('@opentelemetry/exporter-trace-otlp-proto')
  return new OTLPTraceExporter()
}
