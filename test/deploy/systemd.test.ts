import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { useFolder } from '../support/folder.ts'
import { deployed, findProgram, missing, ROOT } from './programs.ts'
import { ENDING_MS, linesOf, msOf, settingsOf } from './settings.ts'

const UNIT = readFileSync(deployed('systemd', 'upload-server.service'), 'utf8')
const example = linesOf(readFileSync(deployed('systemd', 'env.example'), 'utf8'))
const analyze = findProgram('systemd-analyze')
const run = promisify(execFile)

/** All that the unit says by that name. */
const said = (name: string): string[] =>
  [...UNIT.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value)

test('the unit starts the server as `npm start` does', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  expect(`exec ${said('ExecStart')[0]?.replace('/usr/bin/', '')}`).toBe(scripts.start)
})

test('its variables and those of the example make a config that stays in its folder', () => {
  const config = settingsOf({ ...linesOf(said('Environment').join('\n')), ...example })
  const folder = `/var/lib/${said('StateDirectory')[0]}`
  expect(config).toMatchObject({
    databaseUrl: `file:${folder}/uploads.db`,
    storage: { root: `${folder}/files` },
  })
  expect(config.developmentKeys).toBe(false)
  expect(example['API_KEY_MAPPINGS']).toMatch(/^CHANGE-ME-/)
})

test('systemd has longer to end it than it takes, and does not start it again on a wrong variable', () => {
  const { shutdownGraceMs } = settingsOf(example)
  expect(msOf(said('TimeoutStopSec')[0] ?? '')).toBeGreaterThanOrEqual(shutdownGraceMs + ENDING_MS)
  expect(said('RestartPreventExitStatus')).toEqual(['78'])
})

test.skipIf(!analyze)(
  `systemd finds no fault in the unit${analyze ? '' : `, skipped: ${missing('systemd-analyze', 'systemd')}`}`,
  async () => {
    const file = path.join(await useFolder(), 'upload-server.service')
    // The program of this machine: a unit whose program is not there is a faulty one.
    await writeFile(file, UNIT.replace('/usr/bin/node', process.execPath))
    const { stdout, stderr } = await run(analyze ?? '', ['verify', file])
    expect(stdout + stderr).toBe('')
  },
)

test.skipIf(!analyze)(
  `systemd finds the unit well protected${analyze ? '' : `, skipped: ${missing('systemd-analyze', 'systemd')}`}`,
  async () => {
    // From 0, nothing is exposed, to 10.
    const args = [
      'security',
      '--offline=true',
      '--threshold=20',
      deployed('systemd', 'upload-server.service'),
    ]
    const { stdout } = await run(analyze ?? '', args)
    expect(stdout).toMatch(/Overall exposure level for upload-server\.service: [01]\.\d/)
  },
)
