import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'
import { eventually } from './slow-request.ts'

/** A span, as OTLP tells it, with its attributes by name. */
export interface CollectedSpan {
  name: string
  traceId: string
  spanId: string
  /** empty for a root */
  parentSpanId: string
  /** 2 is a server's */
  kind: number
  attributes: Record<string, unknown>
  /** 2 is an error */
  status: number
  /** of the resource: the name of the service and its like */
  resource: Record<string, unknown>
}

export interface Collector {
  url: string
  spans: CollectedSpan[]
  /** the exports as they came */
  requests: { path: string; headers: IncomingHttpHeaders; body: Buffer }[]
  /** Waits for a span. */
  find(name: string, matches?: (span: CollectedSpan) => boolean): Promise<CollectedSpan>
  childrenOf(span: CollectedSpan): CollectedSpan[]
}

interface KeyValue {
  key: string
  value: Record<string, unknown>
}

/** A collector of traces by OTLP over HTTP. It decodes JSON; what is not JSON is kept as it came. */
export async function useCollector(): Promise<Collector> {
  const spans: CollectedSpan[] = []
  const requests: Collector['requests'] = []
  const receive = async (req: IncomingMessage, res: ServerResponse) => {
    const body = Buffer.concat(await req.toArray())
    requests.push({ path: req.url ?? '', headers: req.headers, body })
    if (req.headers['content-type'] === 'application/json') spans.push(...decode(JSON.parse(body.toString())))
    res.setHeader('Content-Type', req.headers['content-type'] ?? '').end()
  }
  const server = createServer((req, res) => void receive(req, res))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    requests,
    async find(name, matches = () => true) {
      const found = () => spans.find((span) => span.name === name && matches(span))
      await eventually(() => found() !== undefined, `a span "${name}" is exported`)
      return found() as CollectedSpan
    },
    childrenOf: ({ spanId }) => spans.filter(({ parentSpanId }) => parentSpanId === spanId),
  }
}

function decode(told: any): CollectedSpan[] {
  return told.resourceSpans.flatMap(({ resource, scopeSpans }: any) =>
    scopeSpans.flatMap(({ spans }: any) =>
      spans.map((span: any) => ({
        ...span,
        parentSpanId: span.parentSpanId ?? '',
        attributes: byName(span.attributes),
        status: span.status?.code ?? 0,
        resource: byName(resource.attributes),
      })),
    ),
  )
}

const byName = (attributes: KeyValue[] = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))
