import type { IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http'
import { document, operations, type DescribedField, type DescribedResponse } from './document.ts'
import { failuresOf } from './schema.ts'

export interface SeenAnswer {
  method: string
  url: string
  /** the path of the row in the table of routes; null where none fits */
  route: string | null
  asked: IncomingHttpHeaders
  status: number
  headers: OutgoingHttpHeaders
  /** null when it was not kept */
  body: string | null
}

/** What HTTP itself, connections and CORS bring along, on whatever answer. */
const OF_HTTP =
  /^(date|connection|keep-alive|transfer-encoding|content-length|content-type|vary|access-control-.*)$/

/** Where nothing is described, there is nothing: or the server refuses before it looks. */
const OF_NOTHING = new Set([404, 417, 503])

/** What of an answer the document does not say: a line each. */
export function judgeAnswer(answer: SeenAnswer): string[] {
  const { method, url, route, asked, status } = answer
  const told = (what: string) => `${method} ${url} answered ${status}: ${what}`
  // A question of CORS, which any path may be asked.
  if (status === 204 && asked['access-control-request-method'] !== undefined) return []
  // Express answers HEAD by the row of GET.
  const rows = method === 'HEAD' ? ['HEAD', 'GET'] : [method]
  const operation = rows.map((row) => operations.get(`${row} ${route}`)).find((found) => found)
  if (!operation) return OF_NOTHING.has(status) ? [] : [told(`nothing describes ${method} ${route}`)]
  const response = operation.responses[status]
  // Whoever has anything of what is there has it (RFC 9110 section 13.1.2).
  if (!response && status === 304 && asked['if-none-match'] !== undefined) return []
  if (!response) return [told(`the status is not described for ${operation.operationId}`)]
  return [...headerOffences(answer, response), ...bodyOffences(answer, response)].map(told)
}

function headerOffences({ headers, method }: SeenAnswer, response: DescribedResponse): string[] {
  const described = new Map(
    Object.entries(response.headers).map(([name, field]) => [name.toLowerCase(), resolve(field)]),
  )
  const undescribed = Object.keys(headers).filter((name) => !described.has(name) && !OF_HTTP.test(name))
  const missing = [...described].flatMap(([name, { required }]) =>
    // The length of a body that HEAD does not send may be left out.
    required && headers[name] === undefined && !(method === 'HEAD' && name === 'content-length')
      ? [name]
      : [],
  )
  const wrong = [...described].flatMap(([name, { schema }]) => {
    const value = headers[name]
    if (value === undefined) return []
    const failures = failuresOf(schema, schema.type === 'integer' ? Number(value) : String(value))
    return failures.map((failure) => `${name}: ${String(value)} ${failure}`)
  })
  return [
    ...undescribed.map((name) => `the header ${name} is not described`),
    ...missing.map((name) => `the header ${name} is missing`),
    ...wrong,
  ]
}

const resolve = (field: DescribedField | { $ref: string }): DescribedField => {
  if (!('$ref' in field)) return field
  const found = document.components.headers[field.$ref.replace('#/components/headers/', '')]
  if (!found) throw new Error(`${field.$ref} is not there`)
  return found
}

function bodyOffences({ method, headers, body }: SeenAnswer, { content }: DescribedResponse): string[] {
  if (method === 'HEAD') return []
  if (!content) return body ? [`a body that is not described: ${body}`] : []
  const type = String(headers['content-type'] ?? 'none')
    .split(';', 1)
    .join()
  const media = content[type] ?? content['*/*']
  if (!media) return [`a body of ${type}, where ${Object.keys(content).join(', ')} is described`]
  if (media['x-events'] && body !== null) return eventOffences(body, media['x-events'])
  if (type !== 'application/json' || content['*/*'] || body === null) return []
  return failuresOf(media.schema, JSON.parse(body)).map((failure) => `${failure} in ${body}`)
}

/** Of a stream of server-sent events: what was said of an event that is not described, or not so. */
const eventOffences = (body: string, described: Record<string, object>): string[] =>
  [...body.matchAll(/^event: (.*)\ndata: (.*)$/gm)].flatMap(([, event = '', data = '']) => {
    const schema = described[event]
    if (!schema) return [`the event ${event} is not described`]
    return failuresOf(schema, JSON.parse(data)).map((failure) => `${failure} in ${event} ${data}`)
  })
