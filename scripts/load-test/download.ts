import { createHash } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Client } from './client.ts'

/**
 * The SHA-256 of what the download of an upload gives, hex.
 * @param tries before it is given up, a quarter of a second apart
 */
export async function downloadedSha256(client: Client, id: string, tries: number): Promise<string> {
  for (let failures = 1; ; failures++) {
    const hash = createHash('sha256')
    const path = `/v1/uploads/${id}/download`
    const sink = (piece: Buffer) => void hash.update(piece)
    const answer = await client.send({ method: 'GET', path, sink }).catch((error: unknown) => error as Error)
    if (!(answer instanceof Error) && answer.status === 200) return hash.digest('hex')
    const what = answer instanceof Error ? answer.message : `status ${answer.status}`
    if (failures === tries) throw new Error(`${id} could not be downloaded: ${what}`)
    await sleep(250)
  }
}
