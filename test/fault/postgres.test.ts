import { spawn } from 'node:child_process'
import { once } from 'node:events'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { useFolder } from '../support/folder.ts'
import { findPostgres } from '../support/postgres.ts'
import { testEnv } from '../support/server.ts'

const postgres = await findPostgres()
const ROOT = path.join(import.meta.dirname, '..', '..')

/** The real process until it ends, by SIGTERM once it has greeted: what it said, and its exit code. */
async function run(url: string): Promise<{ said: string; code: number }> {
  const env = { PATH: process.env['PATH'], ...testEnv(await useFolder()), DATABASE_URL: url }
  const child = spawn(process.execPath, ['--import', 'tsx', path.join(ROOT, 'src/main.ts')], {
    cwd: ROOT,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let said = ''
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      const greeted = said.includes('Try it')
      said += text
      if (!greeted && said.includes('Try it')) child.kill('SIGTERM')
    })
  const [code] = (await once(child, 'close')) as [number]
  return { said, code }
}

describe.skipIf(!postgres.available)('the process on PostgreSQL', () => {
  test('its greeting names the database without the password', async () => {
    const url = await postgres.database()
    const { host, pathname, username, password } = new URL(url)
    const { said, code } = await run(`${url}?application_name=mine`)
    expect(code).toBe(0)
    expect(said).toContain(`  database  postgresql://${username}@${host}${pathname}\n`)
    expect(said).not.toContain(password)
    expect(said).not.toContain(decodeURIComponent(password))
  })

  test.each([
    ['a server that is not there', { port: '1' }, 'ECONNREFUSED'],
    ['a wrong password', { password: 'tell-nobody' }, 'password authentication failed'],
    ['a database that is not there', { pathname: '/nowhere' }, 'does not exist'],
  ])('%s stops the start with 1, and the log says why without the password', async (_what, change, why) => {
    const url = Object.assign(new URL(await postgres.database()), change)
    const { said, code } = await run(url.href)
    expect(code).toBe(1)
    expect(said).toContain(why)
    for (const secret of [url.password, decodeURIComponent(url.password)]) expect(said).not.toContain(secret)
  })

  test('two that start at once on an empty database both serve, and one has migrated it', async () => {
    const url = await postgres.database()
    const starts = await Promise.all([run(url), run(url)])
    expect(starts.map(({ code }) => code)).toEqual([0, 0])
    expect(starts.filter(({ said }) => said.includes('migrations applied'))).toHaveLength(1)
  })
})
