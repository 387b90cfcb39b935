// For `node --import`: what a server does to the files of its store, and what it answers, in the order in which
// it was over, a line each in the file that TRACE_FILE names.
import { appendFileSync } from 'node:fs'
import { ServerResponse } from 'node:http'
import { createRequire, syncBuiltinESMExports } from 'node:module'
import path from 'node:path'

const require = createRequire(process.argv[1])
const promises = require('node:fs/promises')
const Database = require('better-sqlite3')

const note = (line) => appendFileSync(process.env.TRACE_FILE, `${line}\n`)
const nameOf = (file) => path.relative(process.env.STORAGE_ROOT, String(file)) || '.'
const noteFile = (word, name) => {
  if (!name.startsWith('..')) note(`${word} ${name}`)
}

const { open, rename, unlink } = promises
const probe = await open(process.argv[1])
const handles = Object.getPrototypeOf(probe)
await probe.close()

const names = new WeakMap()
promises.open = async (file, ...rest) => {
  const handle = await open(file, ...rest)
  names.set(handle, nameOf(file))
  return handle
}
promises.rename = async (from, to) => {
  await rename(from, to)
  noteFile('rename', nameOf(to))
}
promises.unlink = async (file) => {
  await unlink(file)
  noteFile('unlink', nameOf(file))
}
syncBuiltinESMExports()

for (const [method, word] of [
  ['write', 'write'],
  ['writev', 'write'],
  ['datasync', 'sync'],
  ['sync', 'sync'],
]) {
  const original = handles[method]
  handles[method] = async function traced(...args) {
    const result = await original.apply(this, args)
    noteFile(word, names.get(this))
    return result
  }
}

const { exec } = Database.prototype
Database.prototype.exec = function traced(sql) {
  const result = exec.call(this, sql)
  if (sql === 'COMMIT') note('commit')
  return result
}

const { writeHead } = ServerResponse.prototype
ServerResponse.prototype.writeHead = function traced(status, ...rest) {
  note(`answer ${status}`)
  return writeHead.call(this, status, ...rest)
}
