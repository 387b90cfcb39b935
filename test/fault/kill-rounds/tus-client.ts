import { createHash } from 'node:crypto'
import { expect } from 'vitest'
import { clientOf, patchAt, TUS, type Client } from '../../support/client.ts'
import { offsetOf } from '../../support/uploading.ts'
import { CHUNK, checkEnded, newBytes, untilGone, type Chance, type RoundClient, type Sent } from './client.ts'

interface TusSent extends Sent {
  /** the offset that the server told last */
  told: number
}

/** Creates, sends PATCHes of any length, some with a checksum, and deletes. */
export function tusClient(chance: Chance): RoundClient {
  const sent: TusSent[] = []

  const create = async (call: Client): Promise<TusSent> => {
    const bytes = newBytes(chance)
    // With its first bytes, or without any.
    const first = chance.once(3) ? bytes.subarray(0, chance.between(1, CHUNK)) : null
    const { status, headers } = await call('POST', '/files', {
      headers: {
        ...TUS,
        'Upload-Length': String(bytes.length),
        ...(first && { 'Content-Type': 'application/offset+octet-stream' }),
      },
      ...(first && { body: first }),
    })
    expect(status).toBe(201)
    const id = headers.get('location')?.split('/').at(-1) ?? ''
    const told = Number(headers.get('upload-offset') ?? 0)
    const upload: TusSent = { id, bytes, told, state: told === bytes.length ? 'complete' : 'open' }
    sent.push(upload)
    return upload
  }

  const append = async (call: Client, upload: TusSent, most: number) => {
    const { id, bytes } = upload
    upload.told = await offsetToGoOnFrom(call, upload)
    if (upload.told < bytes.length) {
      const body = bytes.subarray(upload.told, upload.told + most)
      const digest = createHash('sha1').update(body).digest('base64')
      const checksum = chance.once(4) ? { 'Upload-Checksum': `sha1 ${digest}` } : {}
      const patch = await call('PATCH', `/files/${id}`, {
        headers: { ...patchAt(upload.told), ...checksum },
        body,
      })
      expect([id, patch.status]).toEqual([id, 204])
      expect(Number(patch.headers.get('upload-offset'))).toBe(upload.told + body.length)
      upload.told += body.length
    }
    if (upload.told === bytes.length) upload.state = 'complete'
  }

  const offsetToGoOnFrom = async (call: Client, { id, told }: TusSent): Promise<number> => {
    const offset = await offsetOf(call, id)
    expect([id, offset >= told]).toEqual([id, true])
    return offset
  }

  return {
    sent,
    async work(url) {
      const call = clientOf(url)
      await untilGone(async () => {
        const upload = sent.find(({ state }) => state === 'open') ?? (await create(call))
        await append(call, upload, chance.between(1, 3 * CHUNK))
        if (upload.state !== 'complete' || !chance.once(5)) return
        upload.state = 'deleting'
        const { status } = await call('DELETE', `/files/${upload.id}`, { headers: TUS })
        expect(status).toBe(204)
        upload.state = 'deleted'
      })
    },
    async check(call) {
      for (const upload of sent) if (upload.state === 'open') await offsetToGoOnFrom(call, upload)
      await checkEnded(call, sent, null)
    },
    async finish(url) {
      const call = clientOf(url)
      for (const upload of sent)
        while (upload.state === 'open') await append(call, upload, upload.bytes.length)
      await checkEnded(call, sent, url)
    },
  }
}
