import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { chmod, cp, mkdir, symlink } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { DockerfileParser, type Copy, type Instruction, type JSONInstruction } from 'dockerfile-ast'
import { validate } from 'dockerfile-utils'
import { afterAll, beforeAll, expect, onTestFinished, test } from 'vitest'
import { buildServer, type BuiltServer } from '../support/built-server.ts'
import { clientOf } from '../support/client.ts'
import { useFolder } from '../support/folder.ts'
import { eventually } from '../support/slow-request.ts'
import { createByTus } from '../support/uploading.ts'
import { freePort, ROOT } from './programs.ts'
import { isPinned, settingsOf } from './settings.ts'

const TEXT = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8')
const dockerfile = DockerfileParser.parse(TEXT)
/** Those of the last stage, which becomes the image. */
const last = (() => {
  const all = dockerfile.getInstructions()
  return all.slice(all.findLastIndex((instruction) => instruction.getInstruction() === 'FROM') + 1)
})()
const only = (name: string): Instruction => {
  const found = last.filter((instruction) => instruction.getInstruction() === name)
  if (found.length !== 1 || !found[0]) throw new Error(`the image has ${found.length} times ${name}`)
  return found[0]
}
/** The words of an instruction in JSON form, which runs without a shell. */
const wordsOf = (instruction: Instruction): string[] =>
  (instruction as JSONInstruction).getJSONStrings().map((word) => JSON.parse(word.getValue()))

const envOfImage = (): Record<string, string> =>
  Object.fromEntries(
    dockerfile
      .getENVs()
      .flatMap((env) => env.getProperties())
      .map((property) => [property.getName(), property.getValue() ?? '']),
  )

test('the Dockerfile has no fault that its linter knows', () => {
  expect(validate(TEXT)).toEqual([])
})

test('both stages are of one image of a fixed version', () => {
  const [, image = ''] = /^ARG NODE_IMAGE=(.+)$/m.exec(TEXT) ?? []
  expect(isPinned(image)).toBe(true)
  expect(dockerfile.getFROMs().map((from) => from.getImage())).toEqual(['${NODE_IMAGE}', '${NODE_IMAGE}'])
})

test('the image runs as a user that is not root, by number', () => {
  expect(only('USER').getArgumentsContent()).toMatch(/^[1-9]\d*:[1-9]\d*$/)
})

test('nothing of the program belongs to the user that runs it', () => {
  for (const copy of last.filter((instruction) => instruction.getInstruction() === 'COPY')) {
    const [from] = (copy.getArgumentsContent() ?? '').split(' ')
    const flags = (copy as Copy).getFlags().map((flag) => flag.getName())
    expect(flags.includes('chown'), `of ${from}`).toBe(from === '/data')
  }
})

test('command and health check run without a shell, so signals reach the server', () => {
  expect(wordsOf(only('CMD'))[0]).toBe('node')
  expect(only('STOPSIGNAL').getArgumentsContent()).toBe('SIGTERM')
  expect(only('HEALTHCHECK').getArgumentsContent()).toMatch(/CMD \["node", /)
})

test('the image is started as `npm start` starts a checkout', () => {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  expect(`exec ${wordsOf(only('CMD')).join(' ')}`).toBe(scripts.start)
})

/** The files that a script of package.json names, and those of the scripts that it runs. */
function filesOf(script: string): string[] {
  const { scripts } = JSON.parse(readFileSync(path.join(ROOT, 'package.json'), 'utf8'))
  const text: string = scripts[script]
  const others = [...text.matchAll(/npm run (?:--silent )?([\w:-]+)/g)].flatMap(([, name = '']) =>
    filesOf(name),
  )
  return [...(text.match(/[\w./-]+\.(?:m?[jt]s|json)\b/g) ?? []), ...others]
}

test('everything that the build reads is let into its context, and nothing else', () => {
  const lines = readFileSync(path.join(ROOT, '.dockerignore'), 'utf8').split('\n')
  expect(lines).toContain('*')
  const allowed = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
  const isLetIn = (file: string) =>
    allowed.some((rule) =>
      rule.endsWith('/')
        ? file.startsWith(rule)
        : new RegExp(`^${rule.replaceAll('.', '[.]').replace('*', '[^/]*')}$`).test(file),
    )
  const built = ['build', 'generate'].flatMap(filesOf)
  expect(built).toContain('tsconfig.build.json')
  for (const file of [...built, 'package.json', 'package-lock.json', 'tsconfig.json', 'prisma.config.ts'])
    expect(isLetIn(file), `${file} is let in`).toBe(true)
  for (const file of ['.env', 'deploy/compose/.env', 'data/uploads.db', '.git/config', 'dist/main.js'])
    expect(isLetIn(file), `${file} is let in`).toBe(false)
})

test('the settings of the image are ones, and want a key', () => {
  const env = envOfImage()
  expect(() => settingsOf(env)).toThrow('API_KEY_MAPPINGS')
  expect(settingsOf({ ...env, API_KEY_MAPPINGS: 'key:me' })).toMatchObject({ host: '0.0.0.0', port: 8000 })
})

let built: BuiltServer
beforeAll(async () => {
  built = await buildServer()
})
afterAll(() => built.remove())

/** What the last stage copies out of the build, as another user than root may find it. */
async function unpack(app: string): Promise<void> {
  const sources = last
    .filter((instruction) => instruction.getInstruction() === 'COPY')
    .map((copy) => (copy.getArgumentsContent() ?? '').split(' ').at(-2) ?? '')
    .filter((source) => source.startsWith('/app/'))
    .map((source) => source.slice('/app/'.length))
  await mkdir(path.join(app, 'prisma'), { recursive: true })
  for (const name of sources) {
    const from = name === 'dist' ? path.dirname(built.main) : path.join(ROOT, name)
    if (name === 'node_modules') await symlink(from, path.join(app, name))
    else await cp(from, path.join(app, name), { recursive: true })
  }
}

const UID = Number((only('USER').getArgumentsContent() ?? '').split(':')[0])

test('the command starts a server that its health check finds well, and that SIGTERM ends with 0', async () => {
  const folder = await useFolder()
  const [app, data] = [path.join(folder, 'app'), path.join(folder, 'data')]
  await unpack(app)
  await mkdir(data)
  await chmod(data, 0o777)
  await chmod(folder, 0o755)
  const port = await freePort()
  const env = {
    PATH: `${path.dirname(process.execPath)}:${process.env['PATH']}`,
    ...Object.fromEntries(
      Object.entries(envOfImage()).map(([name, value]) => [name, value.replace('/data/', `${data}/`)]),
    ),
    API_KEY_MAPPINGS: 'alice-key:alice',
    PORT: String(port),
  }
  const [, ...args] = wordsOf(only('CMD'))
  // As the user of the image where this is root, and in a folder that it can't write to.
  const user = process.getuid?.() === 0 && othersMayRead() ? { uid: UID, gid: UID } : {}
  const child = spawn(process.execPath, args, {
    cwd: app,
    env,
    stdio: ['ignore', 'ignore', 'inherit'],
    ...user,
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  const exited = once(child, 'exit')

  const [, ...check] = JSON.parse(
    /CMD (\[.*\])$/s.exec(only('HEALTHCHECK').getArgumentsContent() ?? '')?.[1] ?? '',
  )
  const healthy = async () => {
    try {
      await promisify(execFile)(process.execPath, check, { env })
      return true
    } catch {
      return false
    }
  }
  expect(await healthy()).toBe(false)
  await eventually(healthy, 'the health check finds it well', 30_000)
  const id = await createByTus(clientOf(`http://127.0.0.1:${port}`), 5)
  expect(id).toMatch(/^[0-9a-f-]{36}$/)
  expect(existsSync(path.join(data, 'uploads.db'))).toBe(true)
  child.kill('SIGTERM')
  expect(await exited).toEqual([0, null])
  expect(await healthy()).toBe(false)
})

/** Whether others than root may enter every folder above the packages: not in a checkout in root's home. */
function othersMayRead(): boolean {
  const parts = ROOT.split(path.sep)
  const folders = parts.map((_, at) => parts.slice(0, at + 1).join(path.sep) || path.sep)
  return folders.every((folder) => (statSync(folder).mode & 0o001) !== 0)
}
