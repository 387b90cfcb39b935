// Runs after `npm install` and `npm ci`: generates the Prisma client and builds. Where the development
// dependencies were left out (`npm ci --omit=dev`) there is nothing to build with, and no need to.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'

const root = new URL('../', import.meta.url)
const missing = ['typescript', 'prisma'].filter((name) => !existsSync(new URL(`node_modules/${name}`, root)))

if (missing.length > 0) {
  console.log(`prepare: nothing to do, ${missing.join(' and ')} not installed`)
} else {
  for (const script of ['generate', 'build']) {
    const { status, error } = spawnSync('npm', ['run', '--silent', script], {
      cwd: root,
      stdio: 'inherit',
      shell: process.platform === 'win32',
    })
    if (error) throw error
    if (status !== 0) {
      console.error(`prepare: "npm run ${script}" failed`)
      process.exit(status ?? 1)
    }
  }
}
