import type { Summary } from './measure.ts'

/** A Markdown table a scenario, with the ratios of this server to each other one. */
export function tableOf(summaries: readonly Summary[], peakRssMib: Readonly<Record<string, number>>): string {
  const scenarios = [...new Set(summaries.map(({ scenario }) => scenario))]
  return [
    ...scenarios.map((scenario) =>
      section(
        scenario,
        summaries.filter((each) => each.scenario === scenario),
      ),
    ),
    `Most memory resident: ${Object.entries(peakRssMib)
      .map(([name, mib]) => `${name} ${mib.toFixed(0)} MiB`)
      .join(', ')}.`,
  ].join('\n\n')
}

function section(scenario: string, rows: readonly Summary[]): string {
  const own = rows.find(({ contender }) => contender === 'ours')
  const perUnit = { MiB: 's/GiB', files: 'ms/file', requests: 'ms/request' }
  const lines = rows.map((row) => {
    const cpu = row.unit === 'MiB' ? row.cpuPerUnit : row.cpuPerUnit * 1000
    const ratio = (ours: number | undefined, theirs: number) =>
      own === row || ours === undefined ? '' : `${(ours / theirs).toFixed(2)} ×`
    return [
      row.contender,
      `${row.rate.toFixed(0)} (${row.rateLeast.toFixed(0)}–${row.rateMost.toFixed(0)}) ${row.unit}/s`,
      ratio(own?.rate, row.rate),
      `${cpu.toFixed(2)} ${perUnit[row.unit]}`,
      ratio(own?.cpuPerUnit, row.cpuPerUnit),
      [row.p50Ms, row.p95Ms, row.p99Ms].map((ms) => ms.toFixed(1)).join(' / '),
      row.loadCpu.toFixed(2),
    ].join(' | ')
  })
  return [
    `### ${scenario}`,
    '',
    '| server | median (least–most) | ours to it | server CPU | ours to it | p50 / p95 / p99 ms | load’s CPU |',
    '| --- | --- | --- | --- | --- | --- | --- |',
    ...lines.map((line) => `| ${line} |`),
  ].join('\n')
}
