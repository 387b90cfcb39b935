import { readFile, readdir, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { expect, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { builtCli } from '../support/cli.ts'
import { clientOf, download } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { useHttpProxy } from '../support/http-proxy.ts'
import { spawnServer } from '../support/process.ts'
import { BOB, useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'

const cli = builtCli()

/** A server, and a folder with files of these sizes: `file-0`, `file-1` and so on. */
async function prepared(...sizes: number[]) {
  const server = await useServer({ CHUNK_SIZE_BYTES: String(MIB) })
  const folder = await useFolder()
  const contents = sizes.map((size, at) => bytesOf(size, at + 1))
  const [content = Buffer.alloc(0)] = contents
  const files = contents.map((_, at) => path.join(folder, `file-${at}`))
  for (const [at, file] of files.entries()) await writeFile(file, contents[at] ?? '')
  const env = { UPLOAD_URL: server.url, XDG_STATE_HOME: path.join(folder, 'state') }
  return { server, folder, files, contents, content, env }
}

const pathOf = (url: string): string => new URL(url).pathname

test.each(['native', 'tus'])(
  'several files go up by %s, an empty one among them, and are the same',
  async (dialect) => {
    const { server, files, contents, env } = await prepared(5 * MIB + 77, 0, 1000)
    const args = ['upload', ...files, '--dialect', dialect, '--checksum', '--json', '--parallel', '3']
    const { code, json, stderr } = await cli.run(args, { env })
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(json.map(({ file }) => String(file)).toSorted()).toEqual(files)
    for (const { file, download_url: url, sha256: told, size } of json) {
      const content = contents[files.indexOf(file)] ?? Buffer.alloc(0)
      expect({ size, told }).toEqual({ size: content.length, told: sha256(content) })
      expect(sha256(await download(server.url, pathOf(url)))).toBe(sha256(content))
    }
  },
)

test('without --json each file is a line: its id and the URL of its bytes', async () => {
  const { server, files, content, env } = await prepared(2 * MIB)
  const { stdout } = await cli.run(['upload', ...files], { env })
  const [, id = '', url = ''] = /^([0-9a-f-]{36}) (\S+)\n$/.exec(stdout) ?? []
  expect(url).toBe(`${server.url}/v1/uploads/${id}/download`)
  expect(sha256(await download(server.url, pathOf(url)))).toBe(sha256(content))
})

test('name, type and size of chunks are what was asked for', async () => {
  const { server, files, env } = await prepared(300_000)
  const args = [
    'upload',
    ...files,
    '--name',
    'é.mp4',
    '--type',
    'video/mp4',
    '--chunk-size',
    '100KB',
    '--json',
  ]
  const { json } = await cli.run(args, { env })
  const shown = await clientOf(server.url)('GET', `/v1/uploads/${json[0].upload_id}`)
  expect(shown.json).toMatchObject({
    file_name: 'é.mp4',
    content_type: 'video/mp4',
    chunk_size: 100_000,
    total_chunks: 3,
  })
})

test.each([0, 1000, 8 * MIB, 20 * MIB + 5])('%i bytes of a pipe go up', async (size) => {
  const { server, env } = await prepared()
  const bytes = bytesOf(size)
  const { code, json } = await cli.run(['upload', '-', '--name', 'piped', '--json'], { env, input: bytes })
  expect(code).toBe(0)
  expect(json[0]).toMatchObject({ size, sha256: sha256(bytes) })
  expect(sha256(await download(server.url, `/files/${json[0].upload_id}`))).toBe(sha256(bytes))
  const shown = await clientOf(server.url)('GET', `/v1/uploads/${json[0].upload_id}`)
  expect(shown.json).toMatchObject({ file_name: 'piped', status: 'COMPLETED' })
})

test.each(['native', 'tus'])(
  'Ctrl-C in the middle ends a %s upload with 130, and --resume sends only what is missing',
  async (dialect) => {
    const { server, files, content, env } = await prepared(12 * MIB)
    const proxy = await useHttpProxy(server.url, { bytesPerSecond: 4 * MIB })
    const args = ['upload', ...files, '--dialect', dialect, '--parallel', '2', '--json', '--url', proxy.url]
    const first = cli.start(args, { env })
    const uploads = async () => (await clientOf(server.url)('GET', '/v1/uploads')).json.uploads
    await eventually(async () => (await uploads())[0]?.uploaded_chunks >= 3, 'some chunks are there')
    first.child.kill('SIGINT')
    const interrupted = await first.ended
    expect(interrupted.code).toBe(130)
    expect(interrupted.stderr).toMatch(/--resume/)

    const second = await cli.run([...args, '--resume'], { env })
    expect(second.code).toBe(0)
    const [unfinished, ...others] = await uploads()
    expect(others).toEqual([])
    expect(second.json[0]).toMatchObject({ upload_id: unfinished.upload_id, dialect })
    expect(second.json[0].resumed_at).toBeGreaterThanOrEqual(3 * MIB)
    // What was on the way when it ended may come again: two chunks, or what the sockets held of a stream.
    expect(proxy.bodyBytes()).toBeLessThan(12 * MIB + 3 * MIB)
    expect(sha256(await download(server.url, `/files/${unfinished.upload_id}`))).toBe(sha256(content))
    // Nothing is left to go on with.
    expect(await readdir(path.join(env.XDG_STATE_HOME, 'upload-server'))).toEqual([])
  },
)

test.each(['native', 'tus'])(
  'a server that is killed in the middle of a %s upload and comes back gets the rest',
  async (dialect) => {
    const root = await useFolder()
    const file = path.join(root, 'sent')
    const bytes = bytesOf(12 * MIB)
    await writeFile(file, bytes)
    const first = await spawnServer(root, { LOG_LEVEL: 'fatal', CHUNK_SIZE_BYTES: String(MIB) }, cli.main())
    const port = new URL(first.url).port
    const proxy = await useHttpProxy(first.url, { bytesPerSecond: 4 * MIB })
    const env = { UPLOAD_URL: proxy.url, XDG_STATE_HOME: path.join(root, 'state') }
    const running = cli.start(['upload', file, '--dialect', dialect, '--json'], { env })
    const uploads = async () => (await clientOf(first.url)('GET', '/v1/uploads')).json.uploads
    await eventually(async () => (await uploads())[0]?.uploaded_chunks >= 3, 'some chunks are there')
    await first.signal('SIGKILL')
    const settings = { LOG_LEVEL: 'fatal', CHUNK_SIZE_BYTES: String(MIB), PORT: port }
    const second = await spawnServer(root, settings, cli.main())
    try {
      const { code, json, stderr } = await running.ended
      expect(code).toBe(0)
      expect(stderr).toMatch(/trying again/)
      expect(sha256(await download(second.url, `/files/${json[0].upload_id}`))).toBe(sha256(bytes))
    } finally {
      await second.signal('SIGKILL')
    }
  },
)

test('--resume of a file that has changed starts again, and says so', async () => {
  const { server, files, env } = await prepared(12 * MIB)
  const [file = ''] = files
  const proxy = await useHttpProxy(server.url, { bytesPerSecond: 4 * MIB })
  const first = cli.start(['upload', file, '--url', proxy.url], { env })
  const uploads = async () => (await clientOf(server.url)('GET', '/v1/uploads')).json.uploads
  await eventually(async () => (await uploads())[0]?.uploaded_chunks >= 2, 'some chunks are there')
  first.child.kill('SIGINT')
  await first.ended
  const changed = bytesOf(3 * MIB, 9)
  await writeFile(file, changed)
  const { code, json, stderr } = await cli.run(['upload', file, '--url', proxy.url, '--resume', '--json'], {
    env,
  })
  expect(code).toBe(0)
  expect(stderr).toMatch(/has changed/)
  expect(json[0].resumed_at).toBe(0)
  expect(sha256(await download(server.url, `/files/${json[0].upload_id}`))).toBe(sha256(changed))
})

test('a file that is written to during its upload fails, and what came of it is deleted', async () => {
  const { server, files, env } = await prepared(6 * MIB)
  const [file = ''] = files
  const proxy = await useHttpProxy(server.url, { bytesPerSecond: 4 * MIB })
  const running = cli.start(['upload', file, '--url', proxy.url], { env })
  const uploads = async () => (await clientOf(server.url)('GET', '/v1/uploads')).json.uploads
  await eventually(async () => (await uploads())[0]?.uploaded_chunks >= 1, 'a chunk is there')
  const { atime, mtime } = await stat(file)
  await utimes(file, atime, new Date(mtime.getTime() + 5000))
  const { code, stderr } = await running.ended
  expect(code).toBe(1)
  expect(stderr).toMatch(/was changed/)
  expect(await uploads()).toEqual([])
})

test('--resume of an upload that is deleted starts again', async () => {
  const { server, files, content, env } = await prepared(12 * MIB)
  const proxy = await useHttpProxy(server.url, { bytesPerSecond: 4 * MIB })
  const args = ['upload', ...files, '--url', proxy.url, '--json']
  const first = cli.start(args, { env })
  const call = clientOf(server.url)
  const uploads = async () => (await call('GET', '/v1/uploads')).json.uploads
  await eventually(async () => (await uploads())[0]?.uploaded_chunks >= 2, 'some chunks are there')
  first.child.kill('SIGINT')
  await first.ended
  await call('DELETE', `/v1/uploads/${(await uploads())[0].upload_id}`)
  const { code, json, stderr } = await cli.run([...args, '--resume'], { env })
  expect(code).toBe(0)
  expect(stderr).toMatch(/no more/)
  expect(sha256(await download(server.url, `/files/${json[0].upload_id}`))).toBe(sha256(content))
})

test('throttled bodies come again when the server says so', async () => {
  const { folder, files, content, env } = await prepared(8 * MIB)
  const server = await useServer({ CHUNK_SIZE_BYTES: String(MIB), MAX_INFLIGHT_CHUNKS_PER_UPLOAD: '1' })
  const proxy = await useHttpProxy(server.url, { bytesPerSecond: 8 * MIB })
  const args = ['upload', ...files, '--parallel', '6', '--json', '--url', proxy.url]
  const { code, json, stderr } = await cli.run(args, { env, cwd: folder })
  expect({ code }).toEqual({ code: 0 })
  expect(stderr).toMatch(/trying again/)
  expect(sha256(await download(server.url, `/files/${json[0].upload_id}`))).toBe(sha256(content))
})

test('a key that is not taken ends with 3, at once, and never shows', async () => {
  const { files, env } = await prepared(1000)
  const wrong = { ...env, UPLOAD_API_KEY: 'wrong-secret' }
  const { code, stdout, stderr } = await cli.run(['upload', ...files], { env: wrong })
  expect(code).toBe(3)
  expect(stdout + stderr).not.toMatch(/wrong-secret/)
  const other = await cli.run(['download', crypto.randomUUID()], { env: { ...env, UPLOAD_API_KEY: BOB } })
  expect(other.code).toBe(1)
})

test.each([
  [['upload', 'no-such-file'], 1],
  [['upload', '.'], 2],
  [['upload', '-', '--dialect', 'native'], 2],
  [['upload', '-', '--resume'], 2],
  [['upload', 'a', 'b', '--name', 'c'], 2],
  [['upload', 'a', '--parallel', '0'], 2],
  [['upload', 'a', '--chunk-size', '10 apples'], 2],
  [['upload', 'a', '--url', 'nowhere'], 2],
  [['upload'], 2],
  [['uplaod'], 2],
  [[], 2],
  [['help'], 0],
  [['upload', '--help'], 0],
  [['--version'], 0],
] as const)('%j ends with %i and says why', async (args, expected) => {
  const { code, stdout, stderr } = await cli.run(args)
  expect(code).toBe(expected)
  expect(expected === 0 ? stdout : stderr).not.toBe('')
})

test('a server that is not there is given up after --retry-for', async () => {
  const { files, env } = await prepared(1000)
  const args = ['upload', ...files, '--url', 'http://127.0.0.1:1', '--retry-for', '1']
  const { code, stderr } = await cli.run(args, { env })
  expect(code).toBe(1)
  expect(stderr).toMatch(/ECONNREFUSED/)
})

test('one file that fails does not stop the others', async () => {
  const { server, files, content, env } = await prepared(1000)
  const { code, json } = await cli.run(['upload', 'no-such-file', ...files, '--json'], { env })
  expect(code).toBe(1)
  const [uploaded] = json.filter((line) => line.upload_id)
  expect(sha256(await download(server.url, `/files/${uploaded.upload_id}`))).toBe(sha256(content))
})

test('what is to be gone on with holds no key and is for its owner alone', async () => {
  const { server, files, env } = await prepared(12 * MIB)
  const proxy = await useHttpProxy(server.url, { bytesPerSecond: 4 * MIB })
  const running = cli.start(['upload', ...files, '--url', proxy.url], { env })
  const folder = path.join(env.XDG_STATE_HOME, 'upload-server')
  const names = async () => (await readdir(folder).catch(() => [])).filter((name) => name.endsWith('.json'))
  await eventually(async () => (await names()).length === 1, 'the state is there')
  const file = path.join(folder, (await names())[0] ?? '')
  expect((await stat(file)).mode & 0o777).toBe(0o600)
  expect(await readFile(file, 'utf8')).not.toMatch(/alice-key/)
  running.child.kill('SIGKILL')
  await running.ended
})
