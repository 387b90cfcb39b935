import { expect, test } from 'vitest'
import { clientOf } from '../support/client.ts'
import { useServer } from '../support/server.ts'

const CREATED = {
  'Tus-Resumable': '1.0.0',
  'Upload-Length': '5',
  'Content-Type': 'application/offset+octet-stream',
}

test('a download that meets a deletion gives the file or 404, and nothing failed', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  const seen = new Set<number>()
  for (let round = 0; round < 30; round += 1) {
    const { headers } = await call('POST', '/files', { headers: CREATED, body: 'bytes' })
    const id = new URL(headers.get('location') ?? '').pathname.split('/').at(-1)
    const { json } = await call('POST', `/v1/uploads/${id}/links`)
    const link = new URL(json.url).pathname
    const paths = [`/v1/uploads/${id}/download`, `/files/${id}`, link]
    const downloads = () => [...paths, ...paths].map((path) => call('GET', path))
    const asked = await Promise.all([...downloads(), call('DELETE', `/v1/uploads/${id}`), ...downloads()])
    for (const { status } of asked) seen.add(status)
  }
  expect([200, 204, 404]).toEqual(expect.arrayContaining([...seen]))
})
