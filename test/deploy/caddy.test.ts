import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe } from 'vitest'
import { behindProxy } from './behind-proxy.ts'
import { changed, deployed, findProgram, freePort, launch, missing } from './programs.ts'

const caddy = findProgram('caddy')

describe.skipIf(!caddy)(
  `Caddy, as deploy/proxies has it${caddy ? '' : `, skipped: ${missing('caddy')}`}`,
  () => {
    behindProxy(async ([first, second]) => {
      const folder = await mkdtemp(path.join(tmpdir(), 'caddy-'))
      const url = `http://127.0.0.1:${await freePort()}`
      const text = changed(await readFile(deployed('proxies', 'Caddyfile'), 'utf8'), [
        [/^\{$/, '{\n\tadmin off'],
        // Without TLS: the name of the test has no certificate.
        [/^uploads\.example\.com \{$/, `${url} {`],
        ['127.0.0.1:8001 127.0.0.1:8002', `${first} ${second}`],
      ])
      const file = path.join(folder, 'Caddyfile')
      await writeFile(file, text)
      const args = ['--config', file, '--adapter', 'caddyfile']
      const env = { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder }
      await promisify(execFile)(caddy ?? '', ['validate', ...args], { env: { ...process.env, ...env } })
      const running = launch(caddy ?? '', ['run', ...args], env)
      return {
        url,
        async stop() {
          await running.stop()
          await rm(folder, { recursive: true, force: true })
        },
      }
    })
  },
)
