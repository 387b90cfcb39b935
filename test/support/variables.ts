import { readFileSync } from 'node:fs'
import { parseSync } from 'oxc-parser'

interface Node {
  type: string
  [field: string]: unknown
}

/**
 * The variables that the source of the configuration reads, with their defaults: the rows of
 * `VARIABLES`, and, without one, their `OTHER_NAMES` and whatever is looked up by name in `env`.
 */
export function variablesOf(file: string): Record<string, string> {
  const variables: Record<string, string> = {}
  const declare = (name: string, standard = '') => {
    variables[name] ??= standard
  }
  visit(parseSync(file, readFileSync(file, 'utf8')).program, (node) => {
    if (node.type === 'VariableDeclarator' && at(node, 'id', 'name') === 'VARIABLES')
      visit(node, (row) => {
        const standard = at(row, 'value', 'elements', '1', 'value')
        if (row.type === 'Property' && typeof standard === 'string')
          declare(String(at(row, 'key', 'name')), standard)
      })
    if (node.type === 'VariableDeclarator' && at(node, 'id', 'name') === 'OTHER_NAMES')
      visit(node, (row) => {
        if (row.type === 'Property') declare(String(at(row, 'value', 'value')))
      })
    const looked = at(node, 'property', 'value')
    if (
      node.type === 'MemberExpression' &&
      at(node, 'object', 'name') === 'env' &&
      typeof looked === 'string'
    )
      declare(looked)
  })
  return variables
}

function visit(node: unknown, see: (node: Node) => void): void {
  if (typeof node !== 'object' || node === null) return
  if ('type' in node) see(node as Node)
  for (const child of Object.values(node)) visit(child, see)
}

const at = (node: unknown, ...path: string[]): unknown =>
  path.reduce((here, field) => (here as Record<string, unknown> | null | undefined)?.[field], node)
