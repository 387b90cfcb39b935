import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, rmSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { S3 } from '@aws-sdk/client-s3'

/** A bucket that everybody of a scenario shares, as variables that our server and the peer both read. */
export interface S3Place {
  env: Record<string, string>
  /** Removes what the run left in it. */
  close(): Promise<void>
}

const EMULATOR = path.join(import.meta.dirname, '..', '..', 'test', 'support', 's3', 'main.ts')
const KEYS = { accessKeyId: 'bench', secretAccessKey: 'bench-secret' }

/** The bucket that S3_TEST_ENDPOINT and its like name, or one of the tests' own S3, as a process of its own. */
export function openS3Place(dataFolder: string): Promise<S3Place> {
  const given = process.env
  if (given['S3_TEST_ENDPOINT'] === undefined) return emulator(path.join(dataFolder, 's3'))
  return external(
    variables(
      given['S3_TEST_ENDPOINT'],
      given['S3_TEST_BUCKET'] ?? 'upload-server-test',
      given['S3_TEST_REGION'] ?? 'us-east-1',
      {
        accessKeyId: given['S3_TEST_ACCESS_KEY_ID'] ?? '',
        secretAccessKey: given['S3_TEST_SECRET_ACCESS_KEY'] ?? '',
      },
    ),
  )
}

const variables = (url: string, bucket: string, region: string, keys: typeof KEYS) => ({
  STORAGE_BACKEND: 's3',
  S3_ENDPOINT_URL: url,
  S3_BUCKET: bucket,
  AWS_REGION: region,
  S3_ACCESS_KEY_ID: keys.accessKeyId,
  S3_SECRET_ACCESS_KEY: keys.secretAccessKey,
  S3_FORCE_PATH_STYLE: 'true',
  S3_KEY_PREFIX: `bench-${process.pid}/`,
})

async function emulator(folder: string): Promise<S3Place> {
  mkdirSync(folder, { recursive: true })
  const keys = ['--access-key', KEYS.accessKeyId, '--secret-key', KEYS.secretAccessKey]
  const args = ['--import', 'tsx', EMULATOR, '--dir', folder, '--bucket', 'bench', ...keys]
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const url = await firstLine(child)
  return {
    env: variables(url, 'bench', 'us-east-1', KEYS),
    async close() {
      if (child.exitCode === null) {
        child.kill('SIGKILL')
        await once(child, 'exit')
      }
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function firstLine(child: ChildProcess): Promise<string> {
  const line = once(createInterface({ input: child.stdout as Readable }), 'line')
  const exited = once(child, 'exit').then(() => {
    throw new Error('the S3 of the tests does not start')
  })
  exited.catch(() => {}) // It ends after its line, too.
  const [url] = (await Promise.race([line, exited])) as [string]
  return url
}

async function external(env: Record<string, string>): Promise<S3Place> {
  const client = new S3({
    endpoint: env['S3_ENDPOINT_URL'] ?? '',
    region: env['AWS_REGION'] ?? '',
    credentials: {
      accessKeyId: env['S3_ACCESS_KEY_ID'] ?? '',
      secretAccessKey: env['S3_SECRET_ACCESS_KEY'] ?? '',
    },
    forcePathStyle: true,
  })
  const Bucket = env['S3_BUCKET'] ?? ''
  await client.createBucket({ Bucket }).catch(() => {}) // It may be there.
  return {
    env,
    async close() {
      for (;;) {
        const { Contents = [] } = await client.listObjectsV2({ Bucket, Prefix: env['S3_KEY_PREFIX'] ?? '' })
        if (Contents.length === 0) break
        for (const { Key } of Contents) await client.deleteObject({ Bucket, Key: Key ?? '' })
      }
      client.destroy()
    },
  }
}
