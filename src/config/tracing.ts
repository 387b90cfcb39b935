import type { Values } from './variables.ts'

/** That requests are traced. Everything else about it, the exporter reads by itself. */
export interface Tracing {
  readonly protocol: 'http/protobuf' | 'http/json'
}

/**
 * Traced is what somebody wants to collect.
 * @see https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export function tracingOf(v: Values): Tracing | null {
  const endpoint = v.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || v.OTEL_EXPORTER_OTLP_ENDPOINT
  if (!endpoint || v.OTEL_SDK_DISABLED || v.OTEL_TRACES_EXPORTER === 'none') return null
  return Object.freeze({ protocol: v.OTEL_EXPORTER_OTLP_TRACES_PROTOCOL || v.OTEL_EXPORTER_OTLP_PROTOCOL })
}
