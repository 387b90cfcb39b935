import { routes, type App } from '../../../src/app.ts'
import { createDocument, templateOf } from '../../../src/http/api/document.ts'

/** Nothing of it is called: the table is built, and described. */
export const table = routes({
  tus: {},
  operations: {},
  identification: {},
  adminUserIds: [],
} as unknown as App)

export interface Described {
  paths: Record<string, Record<string, DescribedOperation>>
  webhooks: Record<string, Record<string, Pick<DescribedOperation, 'parameters'>>>
  components: { headers: Record<string, DescribedField>; schemas: Record<string, object> }
}

export interface DescribedOperation {
  operationId: string
  security: Record<string, string[]>[]
  parameters: { name: string; in: string; required: boolean; schema: object }[]
  responses: Record<string, DescribedResponse>
}

export interface DescribedResponse {
  description: string
  headers: Record<string, DescribedField | { $ref: string }>
  content?: Record<string, { schema: object; 'x-events'?: Record<string, object> }>
}

export interface DescribedField {
  required: boolean
  schema: { type?: string }
}

export const document = createDocument(table, 'test') as unknown as Described

/** By the rows of the table; one that stands for two paths has the same operation at both. */
export const operations = new Map<string, DescribedOperation | undefined>(
  table.map(([method, path]) => {
    const template = templateOf(path.replace(/\{.*\}/, ''))
    return [`${method} ${path}`, document.paths[template]?.[method.toLowerCase()]] as const
  }),
)
