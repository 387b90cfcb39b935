#!/usr/bin/env node
import { existsSync, readFileSync } from 'node:fs'
import { EXIT, Failure } from './failure.ts'
import { run } from './program.ts'

// What runs on the machine of the server has the same environment as the server.
const LOCAL = new Set(['migrate', 'doctor'])
if (LOCAL.has(process.argv[2] ?? '') && existsSync('.env')) process.loadEnvFile('.env')

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

const interruption = new AbortController()
const ENDS = [
  ['SIGINT', EXIT.interrupted, 'Interrupted.'],
  ['SIGTERM', EXIT.terminated, 'Terminated.'],
] as const
for (const [signal, exitCode, words] of ENDS)
  process.on(signal, () => {
    // Who asks twice means now.
    if (interruption.signal.aborted) process.exit(exitCode)
    interruption.abort(new Failure(words, { exitCode }))
  })
// Who reads our output, `head` say, may have enough of it.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
  process.exit(EXIT.failed)
})

const { env, stdin, stdout, stderr } = process
process.exitCode = await run(process.argv.slice(2), {
  env,
  stdin,
  stdout,
  stderr,
  signal: interruption.signal,
  version,
})
// What may still come by a pipe has nobody to read it.
stdin.destroy()
