/** Measures this server beside others in one run. `npm run bench -- --help` says how; benchmarks/README.md how to read it. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import { ours, PLAIN_TUS, SINK, start, tusd, type Contender } from './harness/contender.ts'
import { measure, summarise, type Sample, type Summary } from './harness/measure.ts'
import { tableOf } from './harness/report.ts'
import { SCENARIOS } from './harness/scenarios.ts'
import { peakRssMib } from './harness/usage.ts'

const RAM_DISK = '/dev/shm'

const FLAGS = {
  rounds: { type: 'string', default: '5' },
  only: { type: 'string', default: '' },
  tusd: { type: 'string' },
  'data-dir': { type: 'string', default: existsSync(RAM_DISK) ? RAM_DISK : tmpdir() },
  json: { type: 'boolean', default: false },
  save: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const HELP = `Measures this server, plain @tus/server and a bare sink, alternating, in one run.

  npm run bench -- [options]

  --rounds N        samples of every scenario and server (${FLAGS.rounds.default})
  --only TEXT       scenarios whose name has it
  --tusd PATH       a tusd binary to measure as well
  --data-dir PATH   where the servers keep their files (${FLAGS['data-dir'].default})
  --json            prints JSON in place of the table
  --save NAME       writes benchmarks/results/NAME.json and .md`

const { values } = parseArgs({ options: FLAGS })
if (values.help) console.log(HELP)
else await bench()

async function bench(): Promise<void> {
  const folder = mkdtempSync(path.join(values['data-dir'], 'bench-'))
  const recipes = [
    ours(),
    PLAIN_TUS,
    SINK,
    ...(values.tusd === undefined ? [] : [tusd(path.resolve(values.tusd))]),
  ]
  const summaries: Summary[] = []
  const peaks: Record<string, number> = {}
  try {
    for (const scenario of SCENARIOS.filter(({ name }) => name.includes(values.only))) {
      process.stderr.write(`${scenario.name}\n`)
      const taking = recipes.filter(({ name }) => scenario.by(name))
      const samples = new Map<string, Sample[]>(taking.map(({ name }) => [name, []]))
      // Fresh processes for every scenario; the first round warms them up and does not count.
      const contenders: Contender[] = []
      try {
        for (const recipe of taking) contenders.push(await start(recipe, folder))
        for (let round = 0; round <= Number(values.rounds); round++)
          for (const contender of contenders) {
            const sample = await measure(scenario, contender)
            if (round > 0) samples.get(contender.name)?.push(sample)
          }
        for (const { name, pid } of contenders) peaks[name] = Math.max(peaks[name] ?? 0, peakRssMib(pid))
      } finally {
        for (const contender of contenders) await contender.stop()
      }
      for (const [name, each] of samples) summaries.push(summarise(scenario, name, each))
    }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
  const result = { machine: machine(), peakRssMib: peaks, summaries }
  const table = tableOf(result.summaries, peaks)
  console.log(values.json ? JSON.stringify(result, null, 2) : table)
  if (values.save !== undefined) save(values.save, result, table)
}

function machine(): Record<string, string> {
  const git = (...args: string[]) => execFileSync('git', args, { encoding: 'utf8' }).trim()
  return {
    date: new Date().toISOString(),
    cpu: `${cpus().length} × ${cpus()[0]?.model ?? 'unknown'}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${process.platform} ${release()}`,
    node: process.version,
    commit: `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain') ? ', with changes' : ''}`,
    data: values['data-dir'],
    rounds: values.rounds,
  }
}

function save(name: string, result: { machine: Record<string, string> }, table: string): void {
  const folder = path.join(import.meta.dirname, 'results')
  mkdirSync(folder, { recursive: true })
  const where = Object.entries(result.machine).map(([key, value]) => `| ${key} | ${value} |`)
  writeFileSync(path.join(folder, `${name}.json`), `${JSON.stringify(result, null, 2)}\n`)
  writeFileSync(
    path.join(folder, `${name}.md`),
    `# ${name}\n\n| | |\n| --- | --- |\n${where.join('\n')}\n\n${table}\n`,
  )
}
