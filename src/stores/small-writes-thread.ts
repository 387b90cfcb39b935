/** The thread of `small-writes.ts`: does a batch of small writes, and tells of each whether it is done. */
import { closeSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs'
import path from 'node:path'
import { parentPort, workerData } from 'node:worker_threads'
import { codeOf, MAKE_FLAGS, MAKE_MODE } from './disk.ts'
import { placeOf } from './root.ts'
import type { Batch, SmallWrite, ThreadData } from './small-writes.ts'

const { bytes: shared, mark } = workerData as ThreadData
const bytes = new Uint8Array(shared)

parentPort?.on('message', ({ place, writes }: Batch) => {
  parentPort?.postMessage(writes.map((each) => isDone(each, place)))
})

function isDone({ path: file, start, length, position }: SmallWrite, place: string): boolean {
  try {
    const handle = openOrMake(file, place)
    try {
      for (let done = 0; done < length;) {
        const written = writeSync(handle, bytes, start + done, length - done, position + done)
        if (written === 0) return false
        done += written
      }
    } finally {
      // Network file systems tell of a failed write as late as this.
      closeSync(handle)
    }
    return true
  } catch {
    // Who asked tries it in the ordinary way, and learns why.
    return false
  }
}

/** A folder is made only where the disk is the one that it was. */
function openOrMake(file: string, place: string): number {
  try {
    return openSync(file, MAKE_FLAGS, MAKE_MODE)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT' || placeOf(statSync(mark, { bigint: true })) !== place) throw error
  }
  makeFolder(path.dirname(file))
  return openSync(file, MAKE_FLAGS, MAKE_MODE)
}

function makeFolder(folder: string): void {
  try {
    mkdirSync(folder)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  }
}
