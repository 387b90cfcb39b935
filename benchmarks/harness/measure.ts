import { openConnection, type Connection } from './connection.ts'
import type { Contender } from './contender.ts'
import type { Scenario } from './scenarios.ts'
import { markFiles } from './uploaded-files.ts'
import { newWork } from './uploading.ts'
import { cpuSeconds } from './usage.ts'

/** One run of a scenario against one server. */
export interface Sample {
  /** units a second */
  rate: number
  /** of the server, a GiB, a file or a request */
  cpuPerUnit: number
  /** of the load's own process, in shares of one core */
  loadCpu: number
  latenciesMs: number[]
}

const MIB_PER_GIB = 1024

/** One sample. What it uploaded is removed behind it: a RAM disk would not hold what many samples do. */
export async function measure(scenario: Scenario, contender: Contender): Promise<Sample> {
  const connections: Connection[] = []
  const removeUploaded = contender.filesFolder === null ? null : markFiles(contender.filesFolder)
  for (let i = 0; i < scenario.connections; i++) connections.push(await openConnection(contender.port))
  try {
    const [first] = connections as [Connection]
    const prepared = (await scenario.prepare?.(contender, first)) ?? ''
    const work = newWork()
    const [serverBefore, loadBefore, started] = [
      cpuSeconds(contender.pid),
      process.cpuUsage(),
      performance.now(),
    ]
    await scenario.run(contender, connections, prepared, work)
    const seconds = (performance.now() - started) / 1000
    const load = process.cpuUsage(loadBefore)
    const perUnit = (cpuSeconds(contender.pid) - serverBefore) / work.units
    return {
      rate: work.units / seconds,
      cpuPerUnit: scenario.unit === 'MiB' ? perUnit * MIB_PER_GIB : perUnit,
      loadCpu: (load.user + load.system) / 1e6 / seconds,
      latenciesMs: work.latenciesMs,
    }
  } finally {
    for (const connection of connections) connection.close()
    removeUploaded?.()
  }
}

export interface Summary {
  scenario: string
  contender: string
  unit: Scenario['unit']
  rate: number
  rateLeast: number
  rateMost: number
  cpuPerUnit: number
  loadCpu: number
  p50Ms: number
  p95Ms: number
  p99Ms: number
}

export function summarise(scenario: Scenario, contender: string, samples: readonly Sample[]): Summary {
  const rates = samples.map(({ rate }) => rate)
  const latencies = samples.flatMap(({ latenciesMs }) => latenciesMs).toSorted((a, b) => a - b)
  const rank = (share: number) =>
    latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0
  return {
    scenario: scenario.name,
    contender,
    unit: scenario.unit,
    rate: median(rates),
    rateLeast: Math.min(...rates),
    rateMost: Math.max(...rates),
    cpuPerUnit: median(samples.map(({ cpuPerUnit }) => cpuPerUnit)),
    loadCpu: median(samples.map(({ loadCpu }) => loadCpu)),
    p50Ms: rank(0.5),
    p95Ms: rank(0.95),
    p99Ms: rank(0.99),
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? 0) + upper) / 2
}
