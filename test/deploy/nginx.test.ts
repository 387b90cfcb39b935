import { execFile } from 'node:child_process'
import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { describe } from 'vitest'
import { behindProxy, type Proxy } from './behind-proxy.ts'
import { changed, deployed, findProgram, freePort, launch, missing } from './programs.ts'

const nginx = findProgram('nginx')
const openssl = findProgram('openssl')
const run = promisify(execFile)

type Changes = [string | RegExp, string][]

/** The shipped configuration as it is, but for its addresses and the places of its files. */
async function startNginx(
  config: string,
  url: (folder: string) => Promise<[string, Changes]>,
): Promise<Proxy> {
  const folder = await mkdtemp(path.join(tmpdir(), 'nginx-'))
  const [reached, changes] = await url(folder)
  const text = changed(await readFile(config, 'utf8'), [
    ...changes,
    [/^pid .*;$/, `pid ${folder}/nginx.pid;\ndaemon off;`],
    [/access_log \S+ /, `access_log ${folder}/access.log `],
    [/^error_log .*;$/, 'error_log stderr warn;'],
  ])
  await writeFile(path.join(folder, 'nginx.conf'), text)
  await copyFile(deployed('proxies', 'nginx', 'upload-proxy.conf'), path.join(folder, 'upload-proxy.conf'))
  const args = ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')]
  await run(nginx ?? '', [...args, '-t'])
  const running = launch(nginx ?? '', args)
  return {
    url: reached,
    readLog: () => readFile(path.join(folder, 'access.log'), 'utf8'),
    async stop() {
      await running.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A certificate for the loopback address that this process alone believes. */
async function makeCertificate(folder: string): Promise<{ cert: string; key: string }> {
  const [cert, key] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')]
  const words = [
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1'.split(' '),
    ['-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
  ].flat()
  await run(openssl ?? '', words)
  return { cert, key }
}

const noNginx = nginx ? '' : `, skipped: ${missing('nginx', 'nginx-light')}`
const noOpenssl = openssl ? '' : `, skipped: ${missing('openssl')}`

describe.skipIf(!nginx || !openssl)(`nginx with TLS, as deploy/proxies has it${noNginx || noOpenssl}`, () => {
  behindProxy(([first, second]) =>
    startNginx(deployed('proxies', 'nginx', 'nginx.conf'), async (folder) => {
      const { cert, key } = await makeCertificate(folder)
      // The processes of this file alone; fetch has no other way to be told.
      process.env['NODE_TLS_REJECT_UNAUTHORIZED'] = '0'
      const [port, redirecting] = [await freePort(), await freePort()]
      return [
        `https://127.0.0.1:${port}`,
        [
          ['listen 80;', `listen 127.0.0.1:${redirecting};`],
          ['listen 443 ssl;', `listen 127.0.0.1:${port} ssl;`],
          ['server 127.0.0.1:8001 ', `server ${first} `],
          ['server 127.0.0.1:8002 ', `server ${second} `],
          ['/etc/ssl/uploads.example.com/fullchain.pem', cert],
          ['/etc/ssl/uploads.example.com/privkey.pem', key],
        ],
      ]
    }),
  )
})

describe.skipIf(!nginx)(`nginx as compose.yaml has it${noNginx}`, () => {
  behindProxy(([first, second]) =>
    startNginx(deployed('compose', 'nginx.conf'), async () => {
      const port = await freePort()
      return [
        `http://127.0.0.1:${port}`,
        [
          ['listen 80;', `listen 127.0.0.1:${port};`],
          // An address needs no resolving, which Debian's nginx can't do here.
          ['server upload-1:8000 resolve ', `server ${first} `],
          ['server upload-2:8000 resolve ', `server ${second} `],
        ],
      ]
    }),
  )
})
