// Says at the end how many files of OpenTelemetry the process has loaded, but for its API, which prom-client
// brings along.
import { createRequire } from 'node:module'

const { cache } = createRequire(import.meta.url)
process.on('exit', () => {
  const loaded = Object.keys(cache).filter((file) => /\/@opentelemetry\/(?!api\/)/.test(file))
  process.stdout.write(`${JSON.stringify({ loaded: loaded.length })}\n`)
})
