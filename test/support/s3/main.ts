/**
 * The S3 server of the tests as a process of its own:
 * `tsx test/support/s3/main.ts --dir DIR [--port 0] [--r2] [--bucket NAME] [--region NAME]
 * [--access-key ID --secret-key SECRET]`. Prints its URL on a line; ends with SIGTERM or SIGINT.
 */
import { parseArgs } from 'node:util'
import { startS3, type S3Options } from './server.ts'

const { values } = parseArgs({
  options: {
    dir: { type: 'string' },
    port: { type: 'string', default: '0' },
    r2: { type: 'boolean', default: false },
    bucket: { type: 'string' },
    region: { type: 'string' },
    'access-key': { type: 'string' },
    'secret-key': { type: 'string' },
  },
})
const options: S3Options = { port: Number(values.port), r2: values.r2 }
if (values.dir !== undefined) options.dir = values.dir
if (values.bucket !== undefined) options.bucket = values.bucket
if (values.region !== undefined) options.region = values.region
const [accessKeyId, secretAccessKey] = [values['access-key'], values['secret-key']]
if (accessKeyId !== undefined && secretAccessKey !== undefined)
  options.credentials = { accessKeyId, secretAccessKey }

const s3 = await startS3(options)
console.log(s3.url)
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void s3.close())
