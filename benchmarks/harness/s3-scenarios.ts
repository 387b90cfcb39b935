import type { Connection } from './connection.ts'
import type { Contender } from './contender.ts'
import type { Scenario } from './scenarios.ts'
import { bodyOf, expectStatus, initNative, MIB, newWork, timed, uploadByTus, type Work } from './uploading.ts'

/** Who sends one file, and by which way. */
type Upload = (
  contender: Contender,
  connections: readonly Connection[],
  bytes: number,
  work: Work,
) => Promise<string>

const DIRECT = 'lib-storage'
const PROXIED = 'lib-storage proxied'

/** Of the peer: straight to S3, or as the body of a request to it. */
const byPeer: Upload = async (contender, [first], bytes, work) => {
  const body = contender.name === PROXIED ? bodyOf(bytes) : []
  const path = contender.name === PROXIED ? '/proxied' : `/upload?bytes=${bytes}`
  const reply = await timed(work, () => (first as Connection).send('POST', path, {}, body))
  work.units += bytes / MIB
  return expectStatus(reply, 201).headers['location'] ?? ''
}

const byPatch: Upload = (contender, [first], bytes, work) =>
  uploadByTus(contender, first as Connection, { size: bytes, patchBytes: bytes }, work)

const CHUNK_BYTES = 5 * MIB

const byChunks: Upload = async (contender, connections, bytes, work) => {
  const [first] = connections as [Connection]
  const { headers } = contender
  const path = await initNative(contender, first, bytes, CHUNK_BYTES)
  let next = 0
  await Promise.all(
    connections.map(async (connection) => {
      for (let at = next++ * CHUNK_BYTES; at < bytes; at = next++ * CHUNK_BYTES) {
        const body = bodyOf(Math.min(CHUNK_BYTES, bytes - at))
        const put = () => connection.send('PUT', `${path}/chunks/${at / CHUNK_BYTES}`, headers, body)
        expectStatus(await timed(work, put), 202)
        work.units += Math.min(CHUNK_BYTES, bytes - at) / MIB
      }
    }),
  )
  expectStatus(await first.send('POST', `${path}/complete`, headers), 200)
  return path
}

const isOurs = ({ name }: Contender) => name === 'ours'

/** `files` files at once, each over `connections` connections. */
const uploads = (
  name: string,
  ours: Upload,
  { files, connections, bytes }: { files: number; connections: number; bytes: number },
): Scenario => ({
  name,
  by: () => true,
  connections: files * connections,
  unit: 'MiB',
  run: async (contender, opened, _prepared, work) => {
    const upload = isOurs(contender) ? ours : byPeer
    await Promise.all(
      Array.from({ length: files }, (_, file) =>
        upload(contender, opened.slice(file * connections, (file + 1) * connections), bytes, work),
      ),
    )
  },
})

const FILE_BYTES = 256 * MIB

const downloads = (name: string, connections: number): Scenario => ({
  name,
  by: () => true,
  connections,
  unit: 'MiB',
  prepare: (contender, connection) =>
    (isOurs(contender) ? byPatch : byPeer)(contender, [connection], FILE_BYTES, newWork()),
  run: async (contender, opened, path, work) => {
    const url = contender.name === PROXIED ? `${path}?proxied` : path
    await Promise.all(
      opened.map(async (connection) => {
        const reply = await timed(work, () => connection.send('GET', url, contender.headers))
        const read = contender.name === DIRECT ? Number(reply.headers['x-read']) : reply.bodyBytes
        if (expectStatus(reply, 200) && read !== FILE_BYTES) throw new Error('a short download')
        work.units += FILE_BYTES / MIB
      }),
    )
  },
})

export const S3_SCENARIOS: readonly Scenario[] = [
  uploads('S3: one PATCH of 256 MiB', byPatch, { files: 1, connections: 1, bytes: FILE_BYTES }),
  uploads('S3: 4 PATCHes of 64 MiB at once', byPatch, { files: 4, connections: 1, bytes: 64 * MIB }),
  uploads('S3: 256 MiB in native chunks of 5 MiB × 4', byChunks, {
    files: 1,
    connections: 4,
    bytes: FILE_BYTES,
  }),
  uploads('S3: 100 PATCHes of 6 MiB at once', byPatch, { files: 100, connections: 1, bytes: 6 * MIB }),
  downloads('S3: download of 256 MiB, 1 reader', 1),
  downloads('S3: download of 256 MiB, 4 readers', 4),
]
