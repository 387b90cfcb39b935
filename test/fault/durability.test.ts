import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, expect, onTestFinished, test, type TestContext } from 'vitest'
import { builtServer, preload } from '../support/built-process.ts'
import { bytesOf } from '../support/bytes.ts'
import { patchAt, TUS, type Client } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { eventually } from '../support/slow-request.ts'

const CHUNK = 10_000
const BYTES = bytesOf(3 * CHUNK)

const startBuilt = builtServer()

const start = async (env: Record<string, string>) => {
  const root = await useFolder()
  const trace = { TRACE_FILE: path.join(root, 'trace') }
  const { server, call } = await startBuilt(root, { CHUNK_SIZE_BYTES: String(CHUNK), ...trace, ...env })
  return { root, call, pid: server.child.pid ?? 0 }
}

/** A server that writes down what it does to its disk, and a look at what that was since the last look. */
async function useTracedServer(durability: 'process' | 'disk') {
  const { root, call } = await start({ DURABILITY: durability, ...preload('trace-writes.mjs') })
  const trace = path.join(root, 'trace')
  const look = async () => {
    const text = await readFile(trace, 'utf8')
    // A file that is being joined has a name of its own.
    const lines = text
      .replace(/\.[0-9a-f-]{36}\.join/g, '.join')
      .split('\n')
      .slice(0, -1)
    await writeFile(trace, '')
    return groups(lines)
  }
  await look()
  return { call, look }
}

/** Syncs that follow each other run side by side: in a group of their own their order is of no account. */
const groups = (lines: string[]): (string | string[])[] =>
  lines.reduce<(string | string[])[]>((all, line) => {
    if (!line.startsWith('sync ')) return [...all, line]
    const last = all.at(-1)
    return Array.isArray(last) ? [...all.slice(0, -1), [...last, line].toSorted()] : [...all, [line]]
  }, [])

interface Created {
  id: string
  /** relative to the root of the store */
  file: string
  folder: string
}

async function create(call: Client, headers: Record<string, string>): Promise<Created> {
  const { headers: told } = await call('POST', '/files', { headers: { ...TUS, ...headers } })
  const id = told.get('location')?.split('/').at(-1) ?? ''
  return { id, file: path.join(id.slice(0, 3), id), folder: id.slice(0, 3) }
}

const patch = (call: Client, id: string, from: number, to: number) =>
  call('PATCH', `/files/${id}`, { headers: patchAt(from), body: BYTES.subarray(from, to) })

const put = (call: Client, id: string, index: number) =>
  call('PUT', `/v1/uploads/${id}/chunks/${index}`, {
    body: BYTES.subarray(index * CHUNK, (index + 1) * CHUNK),
  })

const partial = async (call: Client) => {
  const part = await create(call, { 'Upload-Length': '10', 'Upload-Concat': 'partial' })
  await patch(call, part.id, 0, 10)
  return part
}

describe('with DURABILITY=disk', () => {
  test('a PATCH forces its bytes and the new names before each commit, and is answered after the last', async () => {
    const { call, look } = await useTracedServer('disk')
    const { id, file, folder } = await create(call, { 'Upload-Length': String(BYTES.length) })
    expect(await look()).toEqual(['commit', 'answer 201'])
    await patch(call, id, 0, CHUNK + 5)
    expect(await look()).toEqual([
      `write ${file}`,
      ['sync .', `sync ${folder}`, `sync ${file}`].toSorted(),
      'commit',
      `write ${file}`,
      [`sync ${file}`],
      'commit',
      'answer 204',
    ])
  })

  test('a chunk forces its bytes, and the new names, before its commit, and is answered after that', async () => {
    const { call, look } = await useTracedServer('disk')
    const { id, file, folder } = await create(call, { 'Upload-Length': String(BYTES.length) })
    await look()
    await put(call, id, 2)
    expect(await look()).toEqual([
      `write ${file}`,
      ['sync .', `sync ${folder}`, `sync ${file}`].toSorted(),
      'commit',
      'answer 202',
    ])
    await put(call, id, 0)
    expect(await look()).toEqual([`write ${file}`, [`sync ${file}`], 'commit', 'answer 202'])
  })

  test('a final upload is forced before it gets its name, and its name before it counts', async () => {
    const { call, look } = await useTracedServer('disk')
    const { id } = await partial(call)
    await look()
    const { file, folder } = await create(call, { 'Upload-Concat': `final;/files/${id}` })
    const seen = await look()
    const renamed = seen.indexOf(`rename ${file}`)
    expect(seen.slice(renamed - 2, renamed + 2)).toEqual([
      `write ${file}.join`,
      [`sync ${file}.join`],
      `rename ${file}`,
      ['sync .', `sync ${folder}`],
    ])
    expect(seen.slice(renamed + 2)).toEqual(['commit', 'commit', 'answer 201'])
  })

  test('a deleted file is gone for good before its row is', async () => {
    const { call, look } = await useTracedServer('disk')
    const { id, file, folder } = await partial(call)
    await look()
    await call('DELETE', `/v1/uploads/${id}`)
    expect(await look()).toEqual(['commit', `unlink ${file}`, [`sync ${folder}`], 'commit', 'answer 204'])
  })
})

test('with DURABILITY=process nothing is forced', async () => {
  const { call, look } = await useTracedServer('process')
  const { id } = await partial(call)
  await create(call, { 'Upload-Concat': `final;/files/${id}` })
  const other = await create(call, { 'Upload-Length': String(BYTES.length) })
  await patch(call, other.id, 0, CHUNK)
  await put(call, other.id, 1)
  await call('DELETE', `/v1/uploads/${id}`)
  const seen = await look()
  expect(seen).toContain('commit')
  expect(seen.filter((line) => Array.isArray(line))).toEqual([])
})

/** The system calls of a process that write or force, and what they name. */
async function traceSystemCalls({ skip }: TestContext, pid: number, file: string) {
  const calls = 'trace=fsync,fdatasync,writev,pwritev,write'
  const strace = spawn('strace', ['-f', '-yy', '-s', '16', '-e', calls, '-o', file, '-p', String(pid)])
  onTestFinished(() => void strace.kill())
  const failed = await Promise.race([
    once(strace, 'error').then(([error]) => (error as Error).message),
    once(strace, 'exit').then(() => 'strace may not look into another process'),
    once(strace.stderr, 'data').then(([line]) => (/attached/.test(String(line)) ? null : String(line))),
  ])
  if (failed !== null) skip(`the system calls of SQLite can not be seen: ${failed}`)
  return async (until: RegExp): Promise<string[]> => {
    await eventually(async () => until.test(await readFile(file, 'utf8')), 'the answer is traced')
    const lines = (await readFile(file, 'utf8')).split('\n')
    return lines.flatMap((line) => {
      if (/HTTP\/1\.1 20[24]/.test(line)) return 'answer'
      const forced = /(?:fsync|fdatasync)\(\d+<.*?([^/]+)>/.exec(line)
      return forced ? `sync ${forced[1]}` : []
    })
  }
}

describe('the system calls', () => {
  test.for([
    ['disk', ['sync FILE', 'sync uploads.db-wal', 'answer']],
    ['process', ['answer']],
  ] as const)('of a chunk with DURABILITY=%s are %s', async ([durability, expected], context) => {
    const { root, call, pid } = await start({ DURABILITY: durability })
    const { id } = await create(call, { 'Upload-Length': String(BYTES.length) })
    await put(call, id, 0)
    const seen = await traceSystemCalls(context, pid, path.join(root, 'strace'))
    expect((await put(call, id, 1)).status).toBe(202)
    const calls = await seen(/HTTP\/1\.1 202/)
    expect(calls.map((line) => line.replace(id, 'FILE'))).toEqual(expected)
  })
})
