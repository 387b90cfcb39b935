import { expect, test } from 'vitest'
import { clientOf, TUS } from '../support/client.ts'
import { useServer } from '../support/server.ts'

const base64 = (text: string) => Buffer.from(text).toString('base64')

test('metadata with a space behind its commas, as TUSKit sends it, names the file and its type', async () => {
  const { url } = await useServer()
  const call = clientOf(url)
  for (const key of ['filename', 'fileName']) {
    const { status, headers } = await call('POST', '/files', {
      headers: {
        ...TUS,
        'Upload-Extension': 'creation',
        'Upload-Length': '5',
        'Upload-Metadata': `${key} ${base64('film.mov')}, filetype ${base64('video/quicktime')}`,
      },
    })
    expect(status).toBe(201)
    const id = headers.get('location')?.split('/').at(-1) ?? ''
    const { json } = await call('GET', `/v1/uploads/${id}`)
    expect([json.file_name, json.content_type]).toEqual(['film.mov', 'video/quicktime'])
  }
})
