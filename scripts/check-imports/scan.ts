import { parseSync, Visitor } from 'oxc-parser'

/** One way a file reaches for another module, or for the environment. */
export interface Import {
  /** null for an import whose name is only known at run time */
  specifier: string | null
  /** gone at run time: `import type`, `import { type A }`, `export type`, `import('…').A` as a type */
  typeOnly: boolean
  line: number
}

export interface Scan {
  imports: Import[]
  /** lines that read `process.env`, in whatever spelling */
  environment: number[]
  /** what can't be read can't be checked */
  broken?: { line: number; message: string }
}

export function scan(file: string, code: string): Scan {
  const { program, errors } = parseSync(file, code)
  const lineAt = (position: number): number => code.slice(0, position).split('\n').length
  const imports: Import[] = []
  const environment: number[] = []
  const [error] = errors
  if (error) {
    const line = lineAt(error.labels[0]?.start ?? 0)
    return { imports, environment, broken: { line, message: error.message } }
  }

  const add = (node: { start: number }, specifier: string | null, typeOnly = false): void => {
    imports.push({ specifier, typeOnly, line: lineAt(node.start) })
  }
  const readsEnvironment = (node: { start: number }): void => {
    environment.push(lineAt(node.start))
  }

  new Visitor({
    ImportDeclaration(node) {
      const { specifiers } = node
      const named = specifiers.filter((one) => one.type === 'ImportSpecifier')
      const allTypes = named.length > 0 && named.every((one) => one.importKind === 'type')
      add(
        node,
        node.source.value,
        node.importKind === 'type' || (allTypes && named.length === specifiers.length),
      )
      if (/^(node:)?process$/.test(node.source.value) && named.some((one) => nameOf(one.imported) === 'env'))
        readsEnvironment(node)
    },
    ExportNamedDeclaration(node) {
      if (!node.source) return
      const { specifiers } = node
      const allTypes = specifiers.length > 0 && specifiers.every((one) => one.exportKind === 'type')
      add(node, node.source.value, node.exportKind === 'type' || allTypes)
    },
    ExportAllDeclaration: (node) => add(node, node.source.value, node.exportKind === 'type'),
    ImportExpression: (node) => add(node, textOf(node.source)),
    TSImportType: (node) => add(node, node.source.value, true),
    TSImportEqualsDeclaration(node) {
      if (node.moduleReference.type === 'TSExternalModuleReference')
        add(node, textOf(node.moduleReference.expression), node.importKind === 'type')
    },
    CallExpression(node) {
      if (nameOf(node.callee) === 'require' && node.arguments[0]) add(node, textOf(node.arguments[0]))
    },
    MemberExpression(node) {
      if (nameOf(node.property) !== 'env') return
      const { object } = node
      if (nameOf(object.type === 'MemberExpression' ? object.property : object) === 'process')
        readsEnvironment(node)
    },
    VariableDeclarator(node) {
      if (!node.init || nameOf(node.init) !== 'process' || node.id.type !== 'ObjectPattern') return
      if (node.id.properties.some((one) => one.type === 'Property' && nameOf(one.key) === 'env'))
        readsEnvironment(node)
    },
  }).visit(program)

  return { imports, environment }
}

/** The name that an identifier or a string stands for, null for anything else. */
const nameOf = (node: { type: string; name?: unknown; value?: unknown }): string | null => {
  if (node.type === 'Identifier') return String(node.name)
  return textOf(node)
}

/** A string that is known before the program runs. */
const textOf = (node: { type: string; value?: unknown }): string | null =>
  node.type === 'Literal' && typeof node.value === 'string' ? node.value : null
