import { AsyncLocalStorage } from 'node:async_hooks'
import type { IncomingHttpHeaders } from 'node:http'
import {
  defaultTextMapGetter,
  defaultTextMapSetter,
  ROOT_CONTEXT,
  type Attributes,
  SpanKind,
  SpanStatusCode,
  trace,
  type Context,
  type Span,
} from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import type { RequestLine } from './log.ts'
import { startExport, type ExportOptions } from './trace-export.ts'

/** The trace of one request, from its head to the end of its answer. */
export interface RequestTrace {
  readonly traceId: string
  /** What `work` does, at whatever time, belongs to this trace. */
  run<T>(work: () => T): T
  end(line: RequestLine): void
}

/** @returns null for a request that is not traced */
export type OpenTrace = (method: string, route: string, headers: IncomingHttpHeaders) => RequestTrace | null

/** A step of a request. Every step must be ended. */
export interface Step {
  note(attributes: Attributes): void
  run<T>(work: () => T): T
  end(failure?: unknown): void
}

/** @returns null where nothing is recorded: outside of a request, in one that is not sampled, or past the limit */
export type BeginStep = (name: string, attributes: Attributes, startedAt?: number) => Step | null

export interface Tracing {
  open: OpenTrace
  begin: BeginStep
  /** the headers by which whom we ask goes on with the trace that is running */
  outgoing(): Record<string, string>
  /** Exports what is left. Resolves after `patienceMs` at the latest. */
  close(patienceMs: number): Promise<void>
}

/** What runs, and how many steps its request has had. */
interface Running {
  context: Context
  span: Span
  request: { steps: number }
}

/** A PATCH of many gigabytes has thousands of cells: the first steps show what the others are like. */
const MAX_STEPS = 200

/** Probes come every few seconds, and tell nothing. */
const UNTRACED = new Set(['/health', '/ready', '/version', '/metrics'])

/** Traces by OpenTelemetry, exported by OTLP. What is not said here follows the standard OTEL_* variables. */
export function startTracing(options: ExportOptions): Tracing {
  const { tracer, close } = startExport(options)
  const w3c = new W3CTraceContextPropagator()
  const running = new AsyncLocalStorage<Running>()

  const begin: BeginStep = (name, attributes, startTime) => {
    const parent = running.getStore()
    if (!parent?.span.isRecording()) return null
    const { request } = parent
    request.steps += 1
    if (request.steps > MAX_STEPS) return null
    const span = tracer.startSpan(name, { attributes, ...(startTime && { startTime }) }, parent.context)
    const context = trace.setSpan(parent.context, span)
    return {
      note: (more) => void span.setAttributes(more),
      run: (work) => running.run({ context, span, request }, work),
      end(failure) {
        if (failure !== undefined) fail(span, failure)
        span.end()
      },
    }
  }

  return {
    open(method, route, headers) {
      if (UNTRACED.has(route)) return null
      const parent = w3c.extract(ROOT_CONTEXT, headers, defaultTextMapGetter)
      const attributes = { 'http.request.method': method, 'http.route': route, ...dialectOf(route) }
      const span = tracer.startSpan(`${method} ${route}`, { kind: SpanKind.SERVER, attributes }, parent)
      const request = { steps: 0 }
      return {
        traceId: span.spanContext().traceId,
        run: (work) => running.run({ context: trace.setSpan(parent, span), span, request }, work),
        end(line) {
          describe(span, line)
          if (request.steps > MAX_STEPS) span.setAttribute('steps_left_out', request.steps - MAX_STEPS)
          span.end()
        },
      }
    },
    begin,
    outgoing() {
      const headers: Record<string, string> = {}
      const now = running.getStore()
      if (now) w3c.inject(now.context, headers, defaultTextMapSetter)
      return headers
    },
    close,
  }
}

const dialectOf = (route: string): Attributes => {
  if (route.startsWith('/files')) return { 'upload.dialect': 'tus' }
  return route.startsWith('/v1/uploads') ? { 'upload.dialect': 'native' } : {}
}

/** By the semantic conventions of HTTP: what a client did wrong is no error of ours. */
function describe(span: Span, { status, requestId, userId, uploadId, failure }: RequestLine): void {
  span.setAttributes({
    'http.response.status_code': status,
    'request.id': requestId,
    ...(userId && { 'user.id': userId }),
    ...(uploadId && { 'upload.id': uploadId }),
  })
  if (status >= 500) fail(span, failure ?? String(status))
  else if (failure !== undefined) span.setAttribute('error.type', typeOf(failure))
}

function fail(span: Span, failure: unknown): void {
  span.setAttribute('error.type', typeOf(failure))
  span.setStatus({
    code: SpanStatusCode.ERROR,
    ...(failure instanceof Error && { message: failure.message }),
  })
}

const typeOf = (failure: unknown): string => {
  if (!(failure instanceof Error)) return String(failure)
  return 'code' in failure && typeof failure.code === 'string' ? failure.code : failure.name
}
