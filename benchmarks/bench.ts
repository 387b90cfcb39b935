/** Measures this server beside others in one run. `npm run bench -- --help` says how; benchmarks/README.md how to read it. */
import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import path from 'node:path'
import { parseArgs } from 'node:util'
import {
  libStorage,
  ours,
  oursTogether,
  PLAIN_TUS,
  SINK,
  start,
  tusd,
  type Contender,
  type Recipe,
} from './harness/contender.ts'
import { measure, summarise, type Sample, type Summary } from './harness/measure.ts'
import { openDatabases, type Databases } from './harness/postgres.ts'
import { tableOf } from './harness/report.ts'
import { openS3Place } from './harness/s3-place.ts'
import { S3_SCENARIOS } from './harness/s3-scenarios.ts'
import { SCENARIOS, uploadsMuch, type Scenario } from './harness/scenarios.ts'
import { peakRssMib } from './harness/usage.ts'

const RAM_DISK = '/dev/shm'
const DATABASES = ['sqlite', 'postgresql']

const FLAGS = {
  rounds: { type: 'string', default: '5' },
  only: { type: 'string', default: '' },
  except: { type: 'string' },
  tusd: { type: 'string' },
  database: { type: 'string', default: 'sqlite' },
  'web-concurrency': { type: 'string' },
  'data-dir': { type: 'string', default: existsSync(RAM_DISK) ? RAM_DISK : tmpdir() },
  json: { type: 'boolean', default: false },
  save: { type: 'string' },
  help: { type: 'boolean', short: 'h', default: false },
} as const

const HELP = `Measures this server, plain @tus/server and a bare sink, alternating, in one run.

  npm run bench -- [options]

  --rounds N        samples of every scenario and server (${FLAGS.rounds.default})
  --only TEXT       scenarios whose name has it
  --except TEXT     scenarios whose name has it not
  --tusd PATH       a tusd binary to measure as well
  --database NAME   where this server has its ledger: sqlite or postgresql (${FLAGS.database.default})
  --web-concurrency N  measures N processes of this server at one port as well, where large bodies are uploaded
  --data-dir PATH   where the servers keep their files (${FLAGS['data-dir'].default})
  --json            prints JSON in place of the table
  --save NAME       writes benchmarks/results/NAME.json and .md`

const { values } = parseArgs({ options: FLAGS })
if (values.help) console.log(HELP)
else await bench()

async function bench(): Promise<void> {
  if (!DATABASES.includes(values.database)) throw new Error(`--database is ${DATABASES.join(' or ')}`)
  const folder = mkdtempSync(path.join(values['data-dir'], 'bench-'))
  const databases = values.database === 'postgresql' ? await openDatabases() : null
  const summaries: Summary[] = []
  const peaks: Record<string, number> = {}
  try {
    for (const scenario of [...SCENARIOS, ...S3_SCENARIOS].filter(isWanted)) {
      process.stderr.write(`${scenario.name}\n`)
      const measured = S3_SCENARIOS.includes(scenario) ? measureOnS3 : measureOnDisk
      summaries.push(...(await measured(scenario, folder, databases, peaks)))
    }
  } finally {
    await databases?.close()
    rmSync(folder, { recursive: true, force: true })
  }
  const result = { machine: machine(), peakRssMib: peaks, summaries }
  const table = tableOf(result.summaries, peaks)
  console.log(values.json ? JSON.stringify(result, null, 2) : table)
  if (values.save !== undefined) save(values.save, result, table)
}

type Peaks = Record<string, number>

function measureOnDisk(scenario: Scenario, folder: string, databases: Databases | null, peaks: Peaks) {
  const others = [PLAIN_TUS, SINK, ...(values.tusd === undefined ? [] : [tusd(path.resolve(values.tusd))])]
  const processes = values['web-concurrency']
  const together =
    processes === undefined || !uploadsMuch(scenario) ? [] : oursTogether(processes, databases?.make ?? null)
  const recipes = [ours({}, databases?.make), ...together, ...others].filter(({ name }) => scenario.by(name))
  return samplesOf(scenario, recipes, folder, (name, mib) => (peaks[name] = Math.max(peaks[name] ?? 0, mib)))
}

async function measureOnS3(scenario: Scenario, folder: string, databases: Databases | null, peaks: Peaks) {
  const s3 = await openS3Place(folder)
  try {
    const peers = (['lib-storage', 'lib-storage proxied'] as const).map((name) => libStorage(name, s3.env))
    // What it takes depends on what it does: a peak for each scenario.
    return await samplesOf(scenario, [ours(s3.env, databases?.make), ...peers], folder, (name, mib) => {
      peaks[`${name} (${scenario.name})`] = mib
    })
  } finally {
    await s3.close()
  }
}

/** Fresh processes for every scenario; the first round warms them up and does not count. */
async function samplesOf(
  scenario: Scenario,
  recipes: readonly Recipe[],
  folder: string,
  peak: (name: string, mib: number) => void,
): Promise<Summary[]> {
  const samples = new Map<string, Sample[]>(recipes.map(({ name }) => [name, []]))
  const contenders: Contender[] = []
  try {
    for (const recipe of recipes) contenders.push(await start(recipe, folder))
    for (let round = 0; round <= Number(values.rounds); round++)
      for (const contender of contenders) {
        const sample = await measure(scenario, contender)
        if (round > 0) samples.get(contender.name)?.push(sample)
      }
    for (const { name, pid } of contenders) peak(name, peakRssMib(pid))
  } finally {
    for (const contender of contenders) await contender.stop()
  }
  return [...samples].map(([name, each]) => summarise(scenario, name, each))
}

function isWanted({ name }: { name: string }): boolean {
  return name.includes(values.only) && (values.except === undefined || !name.includes(values.except))
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
    database: values.database,
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
