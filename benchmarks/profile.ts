/**
 * What a CPU profile of node says, in two tables: where the time went by itself, and under which functions.
 * `node --cpu-prof --cpu-prof-dir=/tmp/profile dist/main.js`, load, SIGTERM; then `npx tsx benchmarks/profile.ts FILE`.
 */
import { readFileSync } from 'node:fs'

interface Node {
  id: number
  callFrame: { functionName: string; url: string; lineNumber: number }
  children?: number[]
}

interface Profile {
  nodes: Node[]
  samples: number[]
  timeDeltas: number[]
}

const ROWS = 30

const [file] = process.argv.slice(2)
if (file === undefined) {
  console.error('Which .cpuprofile?')
  process.exitCode = 2
} else report(JSON.parse(readFileSync(file, 'utf8')) as Profile)

function report({ nodes, samples, timeDeltas }: Profile): void {
  const nodeOf = new Map(nodes.map((node) => [node.id, node]))
  const parentOf = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id])))
  const own = new Map<string, number>()
  const under = new Map<string, number>()
  let busyUs = 0
  const add = (sums: Map<string, number>, name: string, us: number) =>
    sums.set(name, (sums.get(name) ?? 0) + us)

  for (const [i, id] of samples.entries()) {
    const us = timeDeltas[i] ?? 0
    const name = nameOf(nodeOf.get(id))
    if (name.startsWith('(idle)')) continue
    busyUs += us
    add(own, name, us)
    const stack = new Set<string>()
    for (let at: number | undefined = id; at !== undefined; at = parentOf.get(at))
      stack.add(nameOf(nodeOf.get(at)))
    for (const each of stack) add(under, each, us)
  }
  console.log(`${(busyUs / 1e6).toFixed(2)} s busy`)
  for (const [title, sums] of [
    ['by itself', own],
    ['under it', under],
  ] as const) {
    console.log(`\n| % | ${title} |\n| --- | --- |`)
    const rows = [...sums].toSorted(([, a], [, b]) => b - a).slice(0, ROWS)
    for (const [name, us] of rows) console.log(`| ${((us / busyUs) * 100).toFixed(1)} | ${name} |`)
  }
}

function nameOf(node: Node | undefined): string {
  const { functionName = '', url = '', lineNumber = 0 } = node?.callFrame ?? {}
  const place = url.replace(/^.*\/(node_modules|dist)\//, '$1/')
  return place === '' ? functionName : `${functionName || 'anonymous'} ${place}:${lineNumber + 1}`
}
