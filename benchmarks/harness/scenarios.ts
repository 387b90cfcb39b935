import { createHash } from 'node:crypto'
import type { Connection } from './connection.ts'
import type { Contender } from './contender.ts'
import {
  APPEND,
  bodyOf,
  create,
  expectStatus,
  initNative,
  MIB,
  newWork,
  timed,
  uploadByTus,
  type Work,
} from './uploading.ts'

/** A piece of work, done once over connections that are open already. */
export interface Scenario {
  name: string
  /** which contenders can do it */
  by: (contender: string) => boolean
  connections: number
  /** what is counted: bytes for large bodies, files for small ones, requests for ranges */
  unit: 'MiB' | 'files' | 'requests'
  /** what is done before, outside the measurement; its result goes to `run` */
  prepare?(contender: Contender, connection: Connection): Promise<string>
  run(contender: Contender, connections: readonly Connection[], prepared: string, tally: Work): Promise<void>
}

/** Whether it is about large bodies, and not about files that are there before. */
export const uploadsMuch = ({ unit, prepare }: Scenario): boolean => unit === 'MiB' && !prepare

const everybody = () => true
const tusServers = (name: string) => name !== 'sink'
const onlyOurs = (name: string) => name.startsWith('ours')

const patches = (
  name: string,
  connections: number,
  size: number,
  patchBytes: number,
  extra?: Record<string, string>,
): Scenario => ({
  name,
  by: everybody,
  connections,
  unit: 'MiB',
  run: async (contender, opened, _prepared, work) => {
    // The peers know no checksums: they are compared as they are, without one.
    const headers = extra && onlyOurs(contender.name) ? { extra } : {}
    await Promise.all(
      opened.map((connection) => uploadByTus(contender, connection, { size, patchBytes, ...headers }, work)),
    )
  },
})

const SMALL_BYTES = 10 * 1024
const SMALL_FILES = 640

const smallFiles = (
  name: string,
  by: Scenario['by'],
  one: (contender: Contender, connection: Connection) => Promise<void>,
): Scenario => ({
  name,
  by,
  connections: 16,
  unit: 'files',
  run: async (contender, opened, _prepared, work) => {
    let left = SMALL_FILES
    await Promise.all(
      opened.map(async (connection) => {
        while (left-- > 0) {
          const started = performance.now()
          await one(contender, connection)
          work.latenciesMs.push(performance.now() - started)
          work.units += 1
        }
      }),
    )
  },
})

const checksum8Mib = createHash('sha256')
  .update(Buffer.concat(bodyOf(8 * MIB)))
  .digest('base64')

const nativeChunks: Scenario = {
  name: 'native chunks, 5 MiB × 4 of 4 files',
  by: (name) => onlyOurs(name) || name === 'sink',
  connections: 16,
  unit: 'MiB',
  run: async (contender, opened, _prepared, work) => {
    const chunks = 8
    const chunkBytes = 5 * MIB
    const files = [0, 1, 2, 3].map((file) => opened.slice(file * 4, file * 4 + 4))
    await Promise.all(
      files.map(async (connections) => {
        const [first] = connections as [Connection]
        const { headers } = contender
        const size = chunks * chunkBytes
        const native = onlyOurs(contender.name)
        const id = native
          ? (await initNative(contender, first, size, chunkBytes)).split('/').at(-1)
          : (await create(contender, first, size)).split('/').at(-1)
        let next = 0
        await Promise.all(
          connections.map(async (connection) => {
            for (let index = next++; index < chunks; index = next++) {
              const path = native
                ? `/v1/uploads/${id}/chunks/${index}`
                : `/files/${id}?at=${index * chunkBytes}`
              const send = () => connection.send('PUT', path, headers, bodyOf(chunkBytes))
              expectStatus(await timed(work, send), 202, 204)
              work.units += chunkBytes / MIB
            }
          }),
        )
        if (native) expectStatus(await first.send('POST', `/v1/uploads/${id}/complete`, headers), 200)
      }),
    )
  },
}

const DOWNLOAD_BYTES = 256 * MIB
const RANGE_BYTES = 64 * 1024

const download = (
  name: string,
  connections: number,
  unit: Scenario['unit'],
  one: (contender: Contender, connection: Connection, path: string, work: Work) => Promise<void>,
): Scenario => ({
  name,
  by: (contender) => onlyOurs(contender) || contender === 'sink',
  connections,
  unit,
  prepare: (contender, connection) =>
    uploadByTus(contender, connection, { size: DOWNLOAD_BYTES, patchBytes: DOWNLOAD_BYTES }, newWork()),
  run: async (contender, opened, path, work) => {
    await Promise.all(opened.map((connection) => one(contender, connection, path, work)))
  },
})

export const SCENARIOS: readonly Scenario[] = [
  patches('one PATCH of 256 MiB', 1, 256 * MIB, 256 * MIB),
  patches('8 MiB PATCHes, 4 streams', 4, 64 * MIB, 8 * MIB),
  patches('16 MiB PATCHes, 32 streams', 32, 32 * MIB, 16 * MIB),
  patches('8 MiB PATCHes, 4 streams, sha256', 4, 64 * MIB, 8 * MIB, {
    'Upload-Checksum': `sha256 ${checksum8Mib}`,
  }),
  nativeChunks,
  smallFiles('10 KiB files, POST + PATCH, 16 at once', everybody, async (contender, connection) => {
    await uploadByTus(contender, connection, { size: SMALL_BYTES, patchBytes: SMALL_BYTES }, newWork())
  }),
  smallFiles('10 KiB files, creation-with-upload, 16 at once', tusServers, async (contender, connection) => {
    const headers = { ...contender.headers, ...APPEND, 'Upload-Length': String(SMALL_BYTES) }
    expectStatus(await connection.send('POST', '/files', headers, bodyOf(SMALL_BYTES)), 201)
  }),
  download('download of 256 MiB, 4 readers', 4, 'MiB', async (contender, connection, path, work) => {
    const reply = await timed(work, () => connection.send('GET', path, contender.headers))
    if (expectStatus(reply, 200).bodyBytes !== DOWNLOAD_BYTES) throw new Error('a short download')
    work.units += DOWNLOAD_BYTES / MIB
  }),
  download('ranges of 64 KiB, 16 readers', 16, 'requests', async (contender, connection, path, work) => {
    for (let i = 0; i < 100; i++) {
      const start = ((i * 7919) % (DOWNLOAD_BYTES / RANGE_BYTES)) * RANGE_BYTES
      const headers = { ...contender.headers, Range: `bytes=${start}-${start + RANGE_BYTES - 1}` }
      const reply = await timed(work, () => connection.send('GET', path, headers))
      if (expectStatus(reply, 206).bodyBytes !== RANGE_BYTES) throw new Error('a short range')
      work.units += 1
    }
  }),
]
