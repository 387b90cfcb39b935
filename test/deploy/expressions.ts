import { readFileSync } from 'node:fs'
import { parse } from 'yaml'
import { deployed } from './programs.ts'

export interface Alert {
  alert: string
  expr: string
  labels: Record<string, string>
  annotations: Record<string, string>
}

export const alerts = (): Alert[] => {
  const { groups } = parse(readFileSync(deployed('prometheus', 'alerts.yml'), 'utf8')) as {
    groups: { rules: Alert[] }[]
  }
  return groups.flatMap(({ rules }) => rules)
}

export interface Panel {
  id: number
  title: string
  gridPos: { x: number; y: number; w: number; h: number }
  queries: string[]
}

export const dashboard = (): any =>
  JSON.parse(readFileSync(deployed('grafana', 'dashboards', 'upload-server.json'), 'utf8'))

export const panels = (): Panel[] =>
  dashboard().panels.map(({ id, title, gridPos, targets = [] }: any) => ({
    id,
    title,
    gridPos,
    queries: targets.map(({ expr }: { expr: string }) => expr),
  }))

/** As Grafana sends a query, with every server chosen. */
export const withoutVariables = (expr: string): string =>
  expr.replaceAll('$job', 'upload-server').replaceAll('$instance', '.*').replaceAll('$__rate_interval', '1m')

const WORDS = new Set(['and', 'or', 'unless', 'bool', 'offset'])

/** What an expression asks for: metrics by their names, and the labels that it sorts all of them by. */
export function askedFor(expr: string): { metrics: Map<string, string[]>; grouping: string[] } {
  const metrics = new Map<string, string[]>()
  const grouping: string[] = []
  const rest = expr
    .replace(/\b(?:by|on|without|ignoring)\s*\(([^)]*)\)/g, (_, labels: string) => {
      grouping.push(...labels.split(',').map((label) => label.trim()))
      return ' '
    })
    .replace(/\[[^\]]*\]/g, ' ')
  for (const [, name = '', matchers = ''] of rest.matchAll(
    /(?<![\w.])([a-zA-Z_]\w*)\b(?!\s*\()\s*(?:\{([^}]*)\})?/g,
  )) {
    if (WORDS.has(name)) continue
    const labels = [...matchers.replace(/"[^"]*"/g, '').matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)]
    metrics.set(name, [...(metrics.get(name) ?? []), ...labels.map(([, label = '']) => label)])
  }
  return { metrics, grouping }
}
