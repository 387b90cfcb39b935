import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, symlinkSync } from 'node:fs'
import path from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { claimDatabase, type Claim } from '../../src/ledger/claim.ts'
import { migrateUp, migrationStatus } from '../../src/ledger/migrate.ts'
import { useFolder } from '../support/folder.ts'

const claim = async (url: string, shared: boolean, patienceMs = 0, onWait = () => {}): Promise<Claim> => {
  const claimed = await claimDatabase(url, { shared, patienceMs, onWait })
  onTestFinished(() => claimed.release())
  return claimed
}

const useUrl = async () => `file:${path.join(await useFolder(), 'deep', 'uploads.db')}`

/** A process that claims a database and lives until it is killed. */
async function claimElsewhere(url: string, shared: boolean) {
  const program = `
    import { claimDatabase } from '${path.join(import.meta.dirname, '../../src/ledger/claim.ts')}'
    await claimDatabase('${url}', { shared: ${shared}, patienceMs: 0, onWait: () => {} })
    console.log('claimed')
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  await once(child.stdout, 'data')
  return child
}

test('one process that knows of no leases keeps all others away, and says what to do', async () => {
  const url = await useUrl()
  await claim(url, false)
  await expect(claim(url, false)).rejects.toThrow(/Another process works on this database .*LEASES=on/)
  await expect(claim(url, true)).rejects.toThrow(/Another process works on this database alone .*LEASES=on/)
})

test('any number of processes share a database by leases, and keep one away that knows of none', async () => {
  const url = await useUrl()
  const first = await claim(url, true)
  const second = await claim(url, true)
  await expect(claim(url, false)).rejects.toThrow(/LEASES=on/)
  first.release()
  await expect(claim(url, false)).rejects.toThrow(/LEASES=on/)
  await claim(url, true)
  second.release()
  await expect(claim(url, false)).rejects.toThrow(/LEASES=on/)
})

test('who comes too early waits, once said, until the other one has let go', async () => {
  const url = await useUrl()
  const first = await claim(url, true)
  let said = 0
  let ended = false
  const next = claim(url, false, 60_000, () => {
    said += 1
    setTimeout(() => {
      ended = true
      first.release()
    }, 300)
  })
  await next
  expect([said, ended]).toEqual([1, true])
})

test('another process is seen, and its claim ends when it is killed', async () => {
  const url = await useUrl()
  for (const shared of [false, true]) {
    const child = await claimElsewhere(url, shared)
    await expect(claim(url, false)).rejects.toThrow(/LEASES=on/)
    const exited = once(child, 'exit')
    child.kill('SIGKILL')
    await exited
    const next = await claim(url, false)
    next.release()
  }
})

test('a database is the same by whatever name', async () => {
  const url = await useUrl()
  await migrateUp(url)
  const link = path.join(await useFolder(), 'link.db')
  symlinkSync(url.slice('file:'.length), link)
  await claim(`file:${link}`, false)
  await expect(claim(`${url}?x=1`, false)).rejects.toThrow(/LEASES=on/)
})

test('the migrations can be looked at while a server has the database', async () => {
  const url = await useUrl()
  await claim(url, false)
  await migrateUp(url)
  expect((await migrationStatus(url)).every(({ applied }) => applied)).toBe(true)
})

test('a database in memory and one on a server need no claim', async () => {
  for (const url of ['file::memory:', 'postgresql://nobody@localhost/uploads'])
    for (let i = 0; i < 2; i++) await claim(url, false)
  expect(existsSync(':memory:.lock')).toBe(false)
})
