/** Uploads generated files to a running server and measures. `npm run load-test -- --help` says how. */
import { createHash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { newClient } from './load-test/client.ts'
import { native, tus } from './load-test/dialects.ts'
import { parseOptions } from './load-test/options.ts'
import type { Options } from './load-test/options.ts'
import { inParallel } from './load-test/parallel.ts'
import { newPayload } from './load-test/payload.ts'
import { showProgress } from './load-test/progress.ts'
import { newTally, summary, toResult } from './load-test/tally.ts'

const parsed = parseOptions(process.argv.slice(2))
if ('help' in parsed) console.log(parsed.help)
else {
  const problem = 'problem' in parsed ? parsed.problem : unwritable(parsed.options.output)
  if (problem !== null) console.error(`${problem}\nTry --help.`)
  process.exitCode = 'options' in parsed && problem === null ? await run(parsed.options) : 2
}

/** Found out before the work, not after it. */
function unwritable(output: string | null): string | null {
  try {
    if (output !== null) writeFileSync(output, '')
    return null
  } catch (error) {
    return `--output: ${(error as Error).message}`
  }
}

async function run(options: Options): Promise<number> {
  const tally = newTally()
  const sockets = options.concurrentFiles * options.chunkWorkers
  const client = newClient({ ...options, sockets }, tally)
  const payload = newPayload(options.fileSizeBytes, options.chunkSizeBytes)
  const prefix = new URL(options.baseUrl).pathname.replace(/\/$/, '')
  const upload = { native, tus }[options.dialect]({ options, client, payload, tally, prefix })

  const ids = new Map<number, string>()
  const progress = showProgress(tally, options)
  const start = performance.now()
  await inParallel(options.files, options.concurrentFiles, async (file) => {
    const fileStart = performance.now()
    try {
      ids.set(file, await upload(file))
      tally.fileTotalsMs.push(performance.now() - fileStart)
    } catch (error) {
      tally.failures.push(`file ${file}: ${(error as Error).message}`)
    }
  })
  const elapsedMs = performance.now() - start
  progress.stop()

  if (options.verify)
    await inParallel(options.files, options.concurrentFiles, async (file) => {
      const id = ids.get(file)
      if (id === undefined) return
      try {
        const hash = createHash('sha256')
        const { status } = await client.send({
          method: 'GET',
          path: `${prefix}/v1/uploads/${id}/download`,
          sink: (piece) => hash.update(piece),
        })
        if (status !== 200) throw new Error(`the download answered ${status}`)
        if (hash.digest('hex') !== payload.sha256(file))
          throw new Error('the download differs from what was sent')
      } catch (error) {
        tally.failures.push(`file ${file}: ${(error as Error).message}`)
      }
    })
  client.close()

  const result = toResult(tally, elapsedMs, options)
  const json = `${JSON.stringify(result, null, 2)}\n`
  if (options.output !== null) writeFileSync(options.output, json)
  if (options.json) process.stdout.write(json)
  ;(options.json ? process.stderr : process.stdout).write(`${summary(result, tally)}\n`)
  return tally.failures.length > 0 ? 1 : 0
}
