// For `node --import`: writes to files that fail as the file says that FAULT_FILE names, which may change at
// any time. Its JSON: `call` is writev or datasync; `how` the code of an error, `short` for writes that take
// only some of the bytes, or `none` for writes that take none; `after` how many of them go through before.
import { readFileSync } from 'node:fs'
import { open } from 'node:fs/promises'

const probe = await open(process.argv[1])
const handles = Object.getPrototypeOf(probe)
await probe.close()

let [told, seen] = ['', 0]

/** @returns how this call is to fail; null when it is not */
function faultOf(call) {
  const text = readFileSync(process.env.FAULT_FILE, 'utf8')
  if (text !== told) [told, seen] = [text, 0]
  const fault = JSON.parse(text)
  if (fault.call !== call) return null
  seen += 1
  return seen > (fault.after ?? 0) ? fault.how : null
}

const failure = (code, call) => Object.assign(new Error(`${code}: planted, ${call}`), { code, syscall: call })

const { writev, datasync } = handles
handles.writev = async function faulty(pieces, position) {
  const how = faultOf('writev')
  if (how === null) return writev.call(this, pieces, position)
  if (how === 'none') return { bytesWritten: 0, buffers: pieces }
  if (how !== 'short') throw failure(how, 'writev')
  const [first] = pieces
  return writev.call(this, [first.subarray(0, Math.ceil(first.length / 3))], position)
}
handles.datasync = async function faulty() {
  const how = faultOf('datasync')
  if (how !== null) throw failure(how, 'fdatasync')
  return datasync.call(this)
}
