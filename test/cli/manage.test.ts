import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { builtCli } from '../support/cli.ts'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { ALICE, BOB, testEnv, useServer } from '../support/server.ts'

const cli = builtCli()

test('list shows the uploads of the key alone, newest first, as lines and as JSON', async () => {
  const server = await useServer()
  const ids: string[] = []
  for (const [key, name] of [
    [ALICE, 'one'],
    [BOB, 'not ours'],
    [ALICE, 'two\x1b[31m'],
  ] as const) {
    const init = { file_name: name, file_size: 0 }
    const { json } = await clientOf(server.url, key)('POST', '/v1/uploads/init', { body: init })
    if (key === ALICE) ids.unshift(json.upload_id)
  }
  const env = { UPLOAD_URL: server.url }
  await clientOf(server.url)('POST', `/v1/uploads/${ids[1]}/complete`)
  const { code, json } = await cli.run(['list', '--json'], { env })
  expect(code).toBe(0)
  expect(json.map(({ upload_id: id }) => id)).toEqual(ids)
  const completed = await cli.run(['list', '--status', 'completed', '--json'], { env })
  expect(completed.json.map(({ upload_id: id }) => id)).toEqual([ids[1]])
  expect((await cli.run(['list', '--limit', '1', '--json'], { env })).json).toHaveLength(1)
  const { stdout } = await cli.run(['list'], { env })
  expect(stdout.split('\n')[0]).toMatch(/^[0-9a-f-]{36} +INITIATED +0 B +0 % +\S+ +two\?\[31m$/)
})

test('rm deletes what it can, tells what it could not, and ends with 1 then', async () => {
  const server = await useServer()
  const call = clientOf(server.url)
  const init = { file_name: 'a', file_size: 0 }
  const id: string = (await call('POST', '/v1/uploads/init', { body: init })).json.upload_id
  const env = { UPLOAD_URL: server.url }
  const foreign = await cli.run(['rm', id], { env: { ...env, UPLOAD_API_KEY: BOB } })
  expect(foreign.code).toBe(3)
  const { code, stdout, stderr } = await cli.run(['rm', crypto.randomUUID(), id], { env })
  expect({ code, stdout }).toEqual({ code: 1, stdout: `${id}\n` })
  expect(stderr).toMatch(/404/)
  expect((await call('GET', `/v1/uploads/${id}`)).status).toBe(404)
})

test('a token goes as a bearer', async () => {
  const server = await useServer({ API_KEY_MAPPINGS: 'eyJ.a.b:alice' })
  const env = { UPLOAD_URL: server.url, UPLOAD_API_KEY: 'eyJ.a.b' }
  expect((await cli.run(['list'], { env })).code).toBe(0)
})

test('migrate goes up, tells where it is, and goes down again', async () => {
  const folder = await useFolder()
  // As the server reads it: out of .env, in the working directory.
  await writeFile(path.join(folder, '.env'), 'DATABASE_URL=file:./here/uploads.db\n')
  const run = (...args: string[]) => cli.run(['migrate', ...args], { cwd: folder })
  expect((await run('status')).stdout).toMatch(/^missing {2}\d+_/m)
  const up = await run('up')
  expect(up).toMatchObject({ code: 0 })
  expect(up.stdout).toMatch(/^applied: \d+_/)
  expect((await run('up')).stdout).toBe('applied: nothing\n')
  expect((await run('status')).stdout).not.toMatch(/^missing/m)
  const { json } = await run('down', '1', '--json')
  expect(json[0].down).toHaveLength(1)
  expect((await run('status', '--json')).json.filter(({ applied }) => !applied)).toHaveLength(1)
  expect((await run('sideways')).code).toBe(2)
  expect((await run('down', '0')).code).toBe(2)
})

test('migrate goes down only where no server works on the database', async () => {
  const root = await useFolder()
  const server = await useServer(testEnv(root))
  const env = { DATABASE_URL: `file:${path.join(root, 'uploads.db')}` }
  const refused = await cli.run(['migrate', 'down'], { env })
  expect(refused.code).toBe(1)
  expect(refused.stderr).toMatch(/Stop every server first/)
  expect((await cli.run(['migrate', 'status'], { env })).stdout).not.toMatch(/^missing/m)
  await server.close()
  expect((await cli.run(['migrate', 'down'], { env })).code).toBe(0)
})

test('on a terminal an upload draws a bar in place, in a pipe it draws none, and --quiet is silent', async () => {
  const server = await useServer()
  const folder = await useFolder()
  const file = path.join(folder, 'film.bin')
  await writeFile(file, Buffer.alloc(1000))
  const env = { UPLOAD_URL: server.url, XDG_STATE_HOME: folder }
  const piped = await cli.run(['upload', file], { env })
  expect(piped.stderr).toBe('')
  const command = `${process.execPath} ${cli.file()} upload ${file}`
  const onTerminal = async (more: string) => {
    const { stdout } = await promisify(execFile)('script', ['-qec', `${command} ${more}`, '/dev/null'], {
      env: { PATH: process.env['PATH'], TERM: 'xterm', UPLOAD_API_KEY: ALICE, ...env },
    })
    return stdout
  }
  expect(await onTerminal('')).toMatch(/film\.bin {2}\[#+\] {2}100 %/)
  expect(await onTerminal('--quiet')).not.toMatch(/film\.bin/)
})
