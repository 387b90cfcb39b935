import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { bytesOf, MIB, sha256 } from '../support/bytes.ts'
import { builtCli } from '../support/cli.ts'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { useHttpProxy } from '../support/http-proxy.ts'
import { startProxy } from '../support/proxy.ts'
import { useServer } from '../support/server.ts'
import { eventually } from '../support/slow-request.ts'

const cli = builtCli()

async function uploaded(bytes: Buffer, fileName = 'film.bin', digest = sha256(bytes)) {
  const server = await useServer({ CHUNK_SIZE_BYTES: String(64 * MIB) })
  const folder = await useFolder()
  const call = clientOf(server.url)
  const init = { file_name: fileName, file_size: bytes.length, file_checksum_sha256: digest }
  const id: string = (await call('POST', '/v1/uploads/init', { body: init })).json.upload_id
  if (bytes.length > 0) await call('PUT', `/v1/uploads/${id}/chunks/0`, { body: bytes })
  await call('POST', `/v1/uploads/${id}/complete`)
  return { server, folder, id, env: { UPLOAD_URL: server.url } }
}

test.each([0, 1, 16 * MIB, 35 * MIB + 3])(
  '%i bytes come down under their own name, and are checked',
  async (size) => {
    const bytes = bytesOf(size)
    const { folder, id, env } = await uploaded(bytes)
    const { code, json } = await cli.run(['download', id, '--json', '--parallel', '3'], { env, cwd: folder })
    expect(code).toBe(0)
    expect(json[0]).toMatchObject({ file: 'film.bin', size, sha256: sha256(bytes), resumed_at: 0 })
    expect(sha256(await readFile(path.join(folder, 'film.bin')))).toBe(sha256(bytes))
    expect(await readdir(folder)).toEqual(['film.bin'])
  },
)

test('a name that leads out of the folder does not', async () => {
  const bytes = bytesOf(10)
  const { folder, id, env } = await uploaded(bytes, '../../etc/passwd\n')
  expect((await cli.run(['download', id], { env, cwd: folder })).code).toBe(0)
  expect(await readdir(folder)).toEqual(['passwd_'])
})

test.each(['film.bin', 'film.bin.part'])('a %s that is there already stays as it is', async (there) => {
  const { folder, id, env } = await uploaded(bytesOf(10))
  await writeFile(path.join(folder, there), 'mine')
  const { code, stderr } = await cli.run(['download', id], { env, cwd: folder })
  expect([code, stderr]).toEqual([1, expect.stringContaining(`${there} is there already`)])
  expect(await readFile(path.join(folder, there), 'utf8')).toBe('mine')
  expect(await readdir(folder)).toEqual([there])
})

test('a file that is named with --output is replaced', async () => {
  const bytes = bytesOf(10)
  const { folder, id, env } = await uploaded(bytes)
  const file = path.join(folder, 'x')
  await writeFile(file, 'what it was before')
  expect((await cli.run(['download', id, '-o', file], { env, cwd: folder })).code).toBe(0)
  expect(await readFile(file)).toEqual(bytes)
})

test.each([
  ['-', '-'],
  ['.profile', '_profile'],
])('an upload that is called %s becomes a file called %s', async (fileName, file) => {
  const { folder, id, env } = await uploaded(Buffer.from('hello'), fileName)
  expect((await cli.run(['download', id, '--json'], { env, cwd: folder })).json).toMatchObject([{ file }])
  expect(await readdir(folder)).toEqual([file])
})

test('whatever a server says, nothing leads out of the folder, and nothing rules the terminal', async () => {
  const evil = '../\u001b[2Jx'
  const shown = { upload_id: evil, file_name: '..', file_size: 0, chunk_size: 1, status: 'COMPLETED' }
  const row = { ...shown, status: evil, created_at: evil, uploaded_chunks: 0, total_chunks: 1 }
  const server = createServer((req, res) => {
    const list = req.url?.includes('?')
    res.setHeader('Content-Type', 'application/json')
    if (req.url?.endsWith('/refused')) res.writeHead(409).end(JSON.stringify({ detail: evil }))
    else
      res.end(
        JSON.stringify(
          list ? { uploads: [row], next_cursor: null } : { ...shown, file_checksum_sha256: null },
        ),
      )
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  const folder = await useFolder()
  const env = { UPLOAD_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }
  const said: string[] = []
  for (const args of [['download', 'any'], ['download', 'refused'], ['list']]) {
    const { stdout, stderr } = await cli.run(args, { env, cwd: folder })
    said.push(stdout + stderr)
  }
  expect(said).toEqual(['download\n', expect.stringContaining('?[2Jx'), expect.stringContaining('?[2Jx')])
  expect(said.join('')).not.toContain('\u001b')
  expect(await readdir(folder)).toEqual(['download'])
})

test('"-o -" writes the bytes and nothing else to a pipe', async () => {
  const bytes = Buffer.from('only ASCII, since the output is read as text\n'.repeat(50_000))
  const { id, env } = await uploaded(bytes)
  const { code, stdout } = await cli.run(['download', id, '-o', '-'], { env })
  expect(code).toBe(0)
  expect(sha256(Buffer.from(stdout))).toBe(sha256(bytes))
})

test('what was broken off goes on with the segments that are missing', async () => {
  const bytes = bytesOf(60 * MIB)
  const { server, folder, id, env } = await uploaded(bytes)
  const proxy = await useHttpProxy(server.url, { fallsSilentAfterBytes: 40 * MIB })
  const file = path.join(folder, 'x')
  const running = cli.start(['download', id, '-o', file, '--url', proxy.url])
  // A segment is noted at its end.
  const noted = async (): Promise<{ segments: number[] }> =>
    JSON.parse(await readFile(`${file}.part.json`, 'utf8').catch(() => '{"segments":[]}'))
  await eventually(async () => (await noted()).segments.length > 0, 'a segment is there')
  running.child.kill('SIGKILL')
  await running.ended
  const { code, json } = await cli.run(['download', id, '-o', file, '--json'], { env })
  expect(code).toBe(0)
  expect(json[0].resumed_at).toBeGreaterThanOrEqual(16 * MIB)
  expect(sha256(await readFile(file))).toBe(sha256(bytes))
  expect(await readdir(folder)).toEqual(['x'])
})

test('what is left of another file is not gone on with', async () => {
  const bytes = bytesOf(20 * MIB)
  const { folder, id, env } = await uploaded(bytes)
  const file = path.join(folder, 'x')
  await writeFile(`${file}.part`, bytesOf(30 * MIB, 7))
  await writeFile(`${file}.part.json`, JSON.stringify({ version: 'another', segments: [0, 1] }))
  const { code, json } = await cli.run(['download', id, '-o', file, '--json'], { env })
  expect(code).toBe(0)
  expect(json[0].resumed_at).toBe(0)
  expect(sha256(await readFile(file))).toBe(sha256(bytes))
})

test('a connection that breaks in the middle of a file is taken up again', async () => {
  const bytes = bytesOf(40 * MIB)
  const { server, folder, id } = await uploaded(bytes)
  const proxy = await startProxy(server.url)
  const file = path.join(folder, 'x')
  const running = cli.start(['download', id, '-o', file, '--url', proxy.url])
  await eventually(
    () =>
      stat(`${file}.part`).then(
        (found) => found.size > 0,
        () => false,
      ),
    'bytes come',
  )
  proxy.cut()
  const { code } = await running.ended
  await proxy.close()
  expect(code).toBe(0)
  expect(sha256(await readFile(file))).toBe(sha256(bytes))
})

test('an upload that is not complete, or not there, is refused, and makes no file', async () => {
  const server = await useServer()
  const folder = await useFolder()
  const init = { file_name: 'a', file_size: 5 }
  const { json } = await clientOf(server.url)('POST', '/v1/uploads/init', { body: init })
  const env = { UPLOAD_URL: server.url }
  const unfinished = await cli.run(['download', json.upload_id], { env, cwd: folder })
  expect(unfinished).toMatchObject({ code: 1, stdout: '' })
  expect(unfinished.stderr).toMatch(/INITIATED/)
  expect((await cli.run(['download', crypto.randomUUID()], { env, cwd: folder })).code).toBe(1)
  expect(await readdir(folder)).toEqual([])
})
