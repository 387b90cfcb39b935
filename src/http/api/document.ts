import { z } from 'zod'
import { errorAnswer } from '../error-schema.ts'
import { uploadId, chunkIndex } from '../native-schemas.ts'
import { GROUPS } from './groups.ts'
import type { Fields, Group, Operation, Reply } from './operation.ts'
import { refusalsOf, type Refusal } from './refusals.ts'
import { WEBHOOK } from './webhook.ts'

type Json = Record<string, unknown>

/** What of a row of the table of routes is told. */
type Row = readonly [method: string, path: string, ...rest: unknown[]]

/** What stands in a path, by its name in the table of routes. */
const PATH_FIELDS: Readonly<Record<string, { name: string; schema: z.ZodType }>> = {
  id: { name: 'upload_id', schema: uploadId },
  index: { name: 'chunk_index', schema: chunkIndex },
  token: { name: 'token', schema: z.string().describe('As it stands in the URL of the link.') },
  event_id: { name: 'event_id', schema: z.uuid() },
  file: { name: 'file', schema: z.string().describe('As the page names it.') },
}

/**
 * The OpenAPI document of the routes that are served: what each says of itself, and the schemas that
 * requests are parsed by. Its URLs are relative to its own, so that it holds behind any prefix.
 */
export function createDocument(table: readonly Row[], version: string): Json {
  const paths: Record<string, Json> = {}
  for (const [method, path] of table) {
    const found = describedAs(method, path)
    if (!found) continue
    for (const [at, variant] of variantsOf(path).entries()) {
      const item = (paths[templateOf(variant)] ??= {})
      item[method.toLowerCase()] = operationOf(method, variant, found, at === 0 ? '' : 'OfUpload')
    }
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'Upload server',
      version,
      description: INTRODUCTION,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '.' }],
    tags: GROUPS.map(({ name, description }) => ({ name, description })),
    paths,
    webhooks: { [WEBHOOK.id]: { post: webhookOf(WEBHOOK) } },
    components: {
      schemas: componentSchemas(),
      headers: { 'X-Request-ID': fieldOf(requestId) },
      securitySchemes: SECURITY_SCHEMES,
    },
  }
}

const INTRODUCTION =
  'Uploads that survive a broken connection, in two dialects: numbered chunks, and tus. Both see the same ' +
  'upload at any moment: `/v1/uploads/{id}` and `/files/{id}` are two names of it. Every answer has an ' +
  '`X-Request-ID`; errors under `/v1` are JSON (see `Error`). HEAD is answered wherever GET is. Bytes that are ' +
  'no request get a bare 400, 408 or 431.'

/** @returns null for a route that nobody has described */
export function describedAs(method: string, path: string): { group: Group; operation: Operation } | null {
  for (const group of GROUPS) {
    const operation = group.operations[`${method} ${path}`]
    if (operation) return { group, operation }
  }
  return null
}

/** `/files{/:id}` stands for two paths. */
function variantsOf(path: string): string[] {
  const [, before = '', optional] = /^(.*)\{(.*)\}$/.exec(path) ?? []
  return optional === undefined ? [path] : [before, before + optional]
}

/** A path as OpenAPI writes it. */
export const templateOf = (path: string): string =>
  path.replace(/:(\w+)/g, (_whole, key: string) => `{${pathField(key).name}}`)

function pathField(key: string) {
  const field = PATH_FIELDS[key]
  if (!field) throw new Error(`nothing describes :${key} of a path`)
  return field
}

function operationOf(
  method: string,
  path: string,
  { group, operation }: { group: Group; operation: Operation },
  suffix: string,
): Json {
  const { id, summary, description, who, query, headers = {}, body, replies } = operation
  const responses = new Map<number, Json>()
  for (const [status, reply] of Object.entries(replies)) responses.set(Number(status), replyOf(reply))
  for (const [status, refusal] of refusalsOf(method, operation, group.errors))
    responses.set(status, refusedBy(refusal))
  return {
    operationId: id + suffix,
    tags: [group.name],
    summary,
    ...(description !== undefined && { description }),
    security: SECURITY[who],
    parameters: [
      ...[...path.matchAll(/:(\w+)/g)].map(([, key = '']) => {
        const { name, schema } = pathField(key)
        return parameter('path', name, schema)
      }),
      ...Object.entries(query?.shape ?? {}).map(([name, schema]) => parameter('query', name, schema)),
      ...Object.entries(headers).map(([name, schema]) => parameter('header', name, schema)),
    ],
    ...(body && { requestBody: { required: !body.optional, content: contentOf(body.content) } }),
    responses: Object.fromEntries([...responses].toSorted(([a], [b]) => a - b)),
  }
}

const parameter = (place: string, name: string, schema: z.ZodType): Json => ({
  name,
  in: place,
  ...fieldOf(schema),
})

const replyOf = ({ words, headers = {}, content, events }: Reply): Json => ({
  description: words,
  headers: headersOf(headers),
  ...(content !== undefined && { content: events ? streamOf(events) : contentOf(content) }),
})

/** OpenAPI 3.1 has no words for the events of a stream. */
const streamOf = (events: NonNullable<Reply['events']>): Json => ({
  'text/event-stream': {
    schema: { type: 'string' },
    'x-events': Object.fromEntries(Object.entries(events).map(([name, data]) => [name, reference(data)])),
  },
})

const webhookOf = ({ id, summary, description, headers, body }: typeof WEBHOOK): Json => ({
  operationId: id,
  summary,
  description,
  parameters: Object.entries(headers).map(([name, schema]) => parameter('header', name, schema)),
  requestBody: { required: true, content: contentOf(body) },
  responses: {
    '2XX': { description: 'Taken. What the body says does not matter.' },
    default: { description: 'Not taken: it is sent again later. Redirects are not followed.' },
  },
})

const refusedBy = ({ words, headers, codes, told, paged }: Refusal): Json => ({
  description: words,
  headers: headersOf(headers),
  ...(told && {
    content: {
      ...(codes ? { 'application/json': { schema: errorWith(codes) } } : { 'text/plain': TEXT }),
      ...(paged && { 'text/html': TEXT }),
    },
  }),
})

const TEXT = { schema: { type: 'string' } }

/** The body of an error, with the codes that this operation has for the status. */
const errorWith = (codes: string[]): Json => ({
  allOf: [reference(errorAnswer), { properties: { error_code: { enum: codes } } }],
})

const requestId = z.string().describe('The id of the request, as the client gave it or as it was chosen.')

/** Every answer has the request's id. */
const headersOf = (fields: Fields): Json => ({
  ...Object.fromEntries(Object.entries(fields).map(([name, schema]) => [name, fieldOf(schema)])),
  'X-Request-ID': { $ref: '#/components/headers/X-Request-ID' },
})

function fieldOf(schema: z.ZodType): Json {
  const { description, ...rest } = inline(schema)
  return { required: !isOptional(schema), ...(description !== undefined && { description }), schema: rest }
}

function contentOf(content: z.ZodObject | string): Json {
  if (typeof content !== 'string') return { 'application/json': { schema: reference(content) } }
  const schema = content.startsWith('text/') ? { type: 'string' } : {}
  return { [content]: { schema } }
}

const SCHEMAS = '#/components/schemas/'

function reference(schema: z.ZodType): Json {
  const id = schema.meta()?.id
  if (id === undefined) throw new Error('a body without a name: give its schema an id by meta')
  return { $ref: SCHEMAS + id }
}

/** Every schema that has a name. */
function componentSchemas(): Json {
  const { schemas } = z.toJSONSchema(z.globalRegistry, { ...HOW, uri: (id) => SCHEMAS + id })
  return Object.fromEntries(
    Object.entries(schemas).map(([id, { $schema: _schema, $id: _id, ...schema }]) => [id, schema]),
  )
}

function inline(schema: z.ZodType): Json {
  const { $schema: _schema, ...rest } = z.toJSONSchema(schema, HOW)
  return rest
}

/** As clients write it; what a format says, its pattern need not say again. */
const HOW = {
  target: 'draft-2020-12',
  io: 'input',
  override: ({ jsonSchema }: { jsonSchema: z.core.JSONSchema.BaseSchema }) => {
    if (jsonSchema.format !== undefined) delete jsonSchema.pattern
  },
} as const

const isOptional = (schema: z.ZodType): boolean => schema.safeParse(undefined).success

const SECURITY_SCHEMES = {
  apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'A key of `API_KEY_MAPPINGS`.' },
  bearer: {
    type: 'http',
    scheme: 'bearer',
    description: 'The same key; or, by `AUTH_MODE`, a signed token (JWT) whose `sub` is the user.',
  },
  uploadToken: {
    type: 'http',
    scheme: 'bearer',
    description: 'A token that the owner of the upload had made for it. It may stand in `X-API-Key`, too.',
  },
  metricsToken: {
    type: 'http',
    scheme: 'bearer',
    description: '`METRICS_TOKEN`. Where it is not set, nothing is asked for.',
  },
}

const USER = [{ apiKey: [] }, { bearer: [] }]
const SECURITY: Readonly<Record<Operation['who'], Json[]>> = {
  anybody: [],
  link: [],
  user: USER,
  sender: [...USER, { uploadToken: [] }],
  owner: USER,
  admin: USER,
  scraper: [{ metricsToken: [] }, {}],
}
