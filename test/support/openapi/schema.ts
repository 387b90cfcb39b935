import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import formats from 'ajv-formats'
import { document } from './document.ts'

/**
 * What a value has wrong by a schema of the document. Answers have to be what is described and nothing
 * more, though the document does not bind clients to that: a field that nobody has described fails.
 */
export function failuresOf(schema: object, value: unknown): string[] {
  const validate = validatorOf(schema)
  if (validate(value)) return []
  return (validate.errors ?? []).map(
    ({ instancePath, message, params }) => `${instancePath || 'it'} ${message} ${JSON.stringify(params)}`,
  )
}

const ajv = new Ajv2020({ strict: false, allErrors: true })
formats.default(ajv)
ajv.addSchema({ $id: 'document', components: { schemas: closed(document.components.schemas) } })

const known = new Map<object, ValidateFunction>()

function validatorOf(schema: object): ValidateFunction {
  const made = known.get(schema) ?? ajv.compile(withinDocument(schema))
  known.set(schema, made)
  return made
}

const withinDocument = (schema: object): object =>
  JSON.parse(JSON.stringify(schema).replaceAll('"#/components/', '"document#/components/')) as object

function closed<T>(part: T): T {
  if (typeof part !== 'object' || part === null) return part
  if (Array.isArray(part)) return part.map(closed) as T
  const inside = Object.fromEntries(Object.entries(part).map(([name, value]) => [name, closed(value)]))
  const isObject = inside['type'] === 'object' && 'properties' in inside
  return { ...inside, ...(isObject && { additionalProperties: false }) } as T
}
