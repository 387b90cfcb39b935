import { document, type DescribedOperation } from './document.ts'

interface Place {
  pattern: RegExp
  operations: Record<string, DescribedOperation>
  fields: number
}

/** By path; one that says more comes first, as `init` comes before an id. */
const PLACES: Place[] = Object.entries(document.paths)
  .map(([path, operations]) => ({
    pattern: new RegExp(`^${path.replaceAll('.', '\\.').replace(/\{\w+\}/g, '[^/]+')}/?$`),
    operations,
    fields: path.split('{').length,
  }))
  .toSorted((a, b) => a.fields - b.fields)

/** The operation that a request is for; HEAD is answered by that of GET where it has none of its own. */
export function findOperation(method: string, path: string): DescribedOperation | undefined {
  const here = PLACES.filter(({ pattern }) => pattern.test(path))
  const named = (wanted: string) =>
    here.map(({ operations }) => operations[wanted.toLowerCase()]).find((found) => found !== undefined)
  return named(method) ?? (method === 'HEAD' ? named('GET') : undefined)
}
