import { beforeAll, describe, expect, test, vi } from 'vitest'
import { bytesOf, sha256 } from '../support/bytes.ts'
import { useClock } from '../support/clock.ts'
import { clientOf, patchAt, TUS, type Client } from '../support/client.ts'
import { startTestServer, useServer } from '../support/server.ts'
import { useS3Server } from '../support/s3-server.ts'
import { openSocket } from '../support/raw.ts'

const BYTES = bytesOf(1000)
const HOUR = 3600
const base64 = (text: string) => Buffer.from(text).toString('base64')

/** @returns the id of a complete upload, or of one that lacks its bytes */
async function createUpload(call: Client, type: string, complete = true): Promise<string> {
  const { headers } = await call('POST', '/files', {
    headers: {
      ...TUS,
      'Upload-Length': String(BYTES.length),
      'Upload-Metadata': `filename ${base64('fïlm.bin')},filetype ${base64(type)}`,
    },
  })
  const id = headers.get('location')?.split('/').at(-1) ?? ''
  if (complete) await call('PATCH', `/files/${id}`, { headers: patchAt(0), body: BYTES })
  return id
}

async function linkTo(call: Client, id: string, wanted: object = {}): Promise<string> {
  const { status, json } = await call('POST', `/v1/uploads/${id}/links`, { body: wanted })
  expect(status).toBe(201)
  return json.url
}

/** As a browser does it that has nothing but the link. */
const follow = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(url, { method, headers, redirect: 'manual' })

const statusOf = async (url: string): Promise<number> => {
  const answer = await follow(url)
  await answer.arrayBuffer()
  return answer.status
}

const clock = useClock()

describe('a link', () => {
  let url: string
  let call: Client
  let id: string
  let link: string
  beforeAll(async () => {
    const server = await startTestServer({ AUTH_FAILURES_PER_MINUTE: '0' })
    url = server.url
    call = clientOf(url)
    id = await createUpload(call, 'video/mp4')
    link = await linkTo(call, id)
    return () => server.close()
  })

  test('gives the file without a key', async () => {
    expect(link.startsWith(`${url}/v1/links/`)).toBe(true)
    const answer = await follow(link)
    expect(answer.status).toBe(200)
    expect(sha256(Buffer.from(await answer.arrayBuffer()))).toBe(sha256(BYTES))
  })

  test('answers HEAD, a range, several ranges, and a condition, as a download does', async () => {
    const head = await follow(link, {}, 'HEAD')
    expect([head.status, head.headers.get('content-length')]).toEqual([200, '1000'])
    const range = await follow(link, { Range: 'bytes=10-19' })
    expect([range.status, range.headers.get('content-range')]).toEqual([206, 'bytes 10-19/1000'])
    expect(Buffer.from(await range.arrayBuffer())).toEqual(BYTES.subarray(10, 20))
    const several = await follow(link, { Range: 'bytes=0-0,5-6' })
    expect(several.headers.get('content-type')).toMatch(/^multipart\/byteranges/)
    await several.arrayBuffer()
    const etag = head.headers.get('etag') ?? ''
    expect((await follow(link, { 'If-None-Match': etag })).status).toBe(304)
    expect((await follow(link, { Range: 'bytes=5000-' })).status).toBe(416)
  })

  test('is an attachment unless it says inline, and what could run as a page is one all the same', async () => {
    const dispositionOf = async (type: string, wanted: object) => {
      const answer = await follow(await linkTo(call, await createUpload(call, type), wanted))
      await answer.arrayBuffer()
      expect(answer.headers.get('content-security-policy')).toBe("sandbox; default-src 'none'")
      expect(answer.headers.get('x-content-type-options')).toBe('nosniff')
      return answer.headers.get('content-disposition')?.split(';', 1)[0]
    }
    expect(await dispositionOf('video/mp4', {})).toBe('attachment')
    expect(await dispositionOf('video/mp4', { disposition: 'attachment' })).toBe('attachment')
    expect(await dispositionOf('video/mp4', { disposition: 'inline' })).toBe('inline')
    for (const type of ['text/html', 'image/svg+xml', 'application/xhtml+xml', 'nonsense'])
      expect(await dispositionOf(type, { disposition: 'inline' })).toBe('attachment')
  })

  test('may be shown by pages of other origins, which a download may not, and tells nobody where it was', async () => {
    const answer = await follow(link, {}, 'HEAD')
    expect(answer.headers.get('cross-origin-resource-policy')).toBe('cross-origin')
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer')
    const download = await call('HEAD', `/v1/uploads/${id}/download`)
    expect(download.headers.get('cross-origin-resource-policy')).toBe('same-origin')
  })

  test('gives the file and does nothing else', async () => {
    const path = new URL(link).pathname
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
      expect((await follow(link, TUS, method)).status).toBe(404)
    const token = path.split('/').at(-1)
    for (const headers of [{ Authorization: `Bearer ${token}` }, { 'X-API-Key': String(token) }])
      for (const asked of ['/v1/uploads', `/v1/uploads/${id}`, `/files/${id}`])
        expect((await clientOf(url, null)('GET', asked, { headers })).status).toBe(401)
  })

  test('does not count with any part of it changed', async () => {
    const other = await createUpload(call, 'video/mp4')
    const path = link.slice(0, link.lastIndexOf('/') + 1)
    const [purpose, key, upload, ends, disposition, proof] = link.slice(path.length).split('.')
    const changed = [
      ['link2', key, upload, ends, disposition, proof],
      ['upload1', key, upload, ends, disposition, proof],
      [purpose, `${key}x`, upload, ends, disposition, proof],
      [purpose, '', upload, ends, disposition, proof],
      [purpose, key, other, ends, disposition, proof],
      [purpose, key, upload?.toUpperCase(), ends, disposition, proof],
      [purpose, key, upload, String(Number(ends) + 1), disposition, proof],
      [purpose, key, upload, `0${ends}`, disposition, proof],
      [purpose, key, upload, ends, 'inline', proof],
      [purpose, key, upload, ends, proof],
      [purpose, key, upload, ends, disposition, 'x', proof],
      [purpose, key, upload, ends, disposition, ''],
      [purpose, key, upload, ends, disposition],
      [purpose, key, upload, ends, disposition, `${proof}=`],
      [purpose, key, upload, ends, disposition, proof?.slice(0, -1)],
    ].map((parts) => parts.join('.'))
    for (const at of [0, 20, 42]) {
      const letter = proof?.[at] === 'A' ? 'B' : 'A'
      changed.push(`${link.slice(path.length, -43)}${proof?.slice(0, at)}${letter}${proof?.slice(at + 1)}`)
    }
    // The same bytes in base64url, but other letters: the last one has two bits to spare.
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const spare = alphabet[alphabet.indexOf(proof?.at(-1) ?? '') ^ 1]
    changed.push(link.slice(path.length, -1) + spare)
    for (const token of [...changed, '', '.', '......', 'x'.repeat(5000)])
      expect([token, await statusOf(path + token)]).toEqual([token, 404])
    expect(await statusOf(link)).toBe(200)
  })

  test('is not good with another proof of as many bytes', async () => {
    const forged = `${link.slice(0, -43)}${'A'.repeat(43)}`
    expect(await statusOf(forged)).toBe(404)
  })

  test('is good until it expires, and then gone', async () => {
    const { json } = await call('POST', `/v1/uploads/${id}/links`, { body: { expires_in: 60 } })
    const secondsLeft = (Date.parse(json.expires_at) - Date.now()) / 1000
    expect(secondsLeft).toBeGreaterThan(0)
    expect(secondsLeft).toBeLessThanOrEqual(60)
    clock.move(secondsLeft - 1)
    expect(await statusOf(json.url)).toBe(200)
    clock.move(2)
    const late = await follow(json.url)
    expect([late.status, (await late.json()) as object]).toEqual([
      410,
      expect.objectContaining({ error_code: 'gone', detail: 'The link has expired.', upload_id: id }),
    ])
  })

  test('that gives nothing says so to a person on a page, and to a program in JSON', async () => {
    const browser = { Accept: 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8' }
    const page = await follow(`${url}/v1/links/no-such-one`, { ...browser, 'X-Request-ID': 'mine' })
    expect([page.status, page.headers.get('content-type')]).toEqual([404, 'text/html; charset=utf-8'])
    expect(page.headers.get('content-security-policy')).toBe("default-src 'none'; frame-ancestors 'none'")
    expect(page.headers.get('vary')).toMatch(/Accept/)
    expect(await page.text()).toMatch(/<h1>This file can’t be downloaded<\/h1>[^]*Request: mine/)
    for (const accept of ['*/*', 'application/json', 'image/*']) {
      const answer = await follow(`${url}/v1/links/no-such-one`, { Accept: accept })
      expect([answer.status, await answer.json()]).toEqual([
        404,
        expect.objectContaining({ error_code: 'not_found' }),
      ])
    }
    const head = await follow(`${url}/v1/links/no-such-one`, browser, 'HEAD')
    expect([head.status, await head.text()]).toEqual([404, ''])
  })

  test('lives for an hour by default, and never longer than LINK_MAX_SECONDS', async () => {
    const lifeOf = async (wanted?: object) => {
      const { json } = await call('POST', `/v1/uploads/${id}/links`, wanted && { body: wanted })
      // To ten seconds: the machine may be slow.
      return Math.ceil((Date.parse(json.expires_at) - Date.now()) / 10_000) * 10
    }
    expect(await lifeOf()).toBe(HOUR)
    expect(await lifeOf({})).toBe(HOUR)
    expect(await lifeOf({ expires_in: null })).toBe(HOUR)
    expect(await lifeOf({ expires_in: 604_800 })).toBe(604_800)
    for (const expiresIn of [604_801, 0, -1, 1.5, '60', 1e300]) {
      const answer = await call('POST', `/v1/uploads/${id}/links`, { body: { expires_in: expiresIn } })
      expect([answer.status, answer.json.error_code]).toEqual([422, 'unprocessable'])
      expect(answer.json.detail).toMatch(/^expires_in: /)
    }
    const odd = await call('POST', `/v1/uploads/${id}/links`, { body: { disposition: 'page' } })
    expect(odd.status).toBe(422)
  })

  test('to an upload that is not complete says so, and gives the file once it is', async () => {
    const early = await createUpload(call, 'video/mp4', false)
    const link = await linkTo(call, early)
    expect(await statusOf(link)).toBe(409)
    await call('PATCH', `/files/${early}`, { headers: patchAt(0), body: BYTES })
    expect(await statusOf(link)).toBe(200)
  })

  test('ends with its upload', async () => {
    const doomed = await createUpload(call, 'video/mp4')
    const link = await linkTo(call, doomed)
    await call('DELETE', `/v1/uploads/${doomed}`)
    expect(await statusOf(link)).toBe(404)
    expect((await call('POST', `/v1/uploads/${doomed}/links`)).status).toBe(404)
  })

  test('has whatever the client reached the server by', async () => {
    const answer = await new Promise<string>((resolve) => {
      const socket = openSocket(url)
      let told = ''
      socket.on('data', (bytes) => (told += String(bytes))).on('close', () => resolve(told))
      socket.write(
        `POST /v1/uploads/${id}/links HTTP/1.1\r\nHost: up.example.com:81\r\nX-API-Key: alice-key\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n`,
      )
    })
    expect(answer).toContain('"url":"http://up.example.com:81/v1/links/link1.')
  })
})

test('the URL is made of PUBLIC_BASE_URL, or relative where that says so', async () => {
  const urlWith = async (base: string) => {
    const { url } = await useServer({ PUBLIC_BASE_URL: base })
    const call = clientOf(url)
    return linkTo(call, await createUpload(call, 'video/mp4'))
  }
  expect(await urlWith('https://up.example.com/base/')).toMatch(
    /^https:\/\/up\.example\.com\/base\/v1\/links\//,
  )
  expect(await urlWith('/')).toMatch(/^\/v1\/links\//)
})

test('behind a trusted proxy the URL is the one that its client used', async () => {
  const { url } = await useServer({ TRUST_PROXY: 'true' })
  const call = clientOf(url)
  const id = await createUpload(call, 'video/mp4')
  const headers = { 'X-Forwarded-Proto': 'https', 'X-Forwarded-Host': 'up.example.com' }
  const { json } = await call('POST', `/v1/uploads/${id}/links`, { headers })
  expect(json.url).toMatch(/^https:\/\/up\.example\.com\/v1\/links\//)
})

test('wrong links count as wrong keys do, and a right one passes all the same', async () => {
  const { url } = await useServer({ AUTH_FAILURES_PER_MINUTE: '2' })
  const call = clientOf(url)
  const link = await linkTo(call, await createUpload(call, 'video/mp4'))
  for (const wrong of ['a', 'b', 'a']) expect(await statusOf(`${link}${wrong}`)).toBe(404)
  const third = await follow(`${link}c`)
  expect([third.status, third.headers.get('x-ratelimit-reason')]).toEqual([429, 'auth_failure_limit'])
  expect((await clientOf(url, 'no-such-key')('GET', '/v1/uploads')).status).toBe(429)
  expect(await statusOf(link)).toBe(200)
})

test('no link gets into the log', async () => {
  const { url, lines } = await useServer({ LOG_LEVEL: 'trace' })
  const call = clientOf(url)
  const id = await createUpload(call, 'video/mp4')
  const link = await linkTo(call, id)
  const proof = link.split('.').at(-1) ?? ''
  await statusOf(link)
  await statusOf(`${link}?x=${proof}`)
  await statusOf(`${link}x`)
  clock.move(2 * HOUR)
  await statusOf(link)
  await vi.waitFor(() => expect(lines.filter(({ route }) => route === '/v1/links/:token')).toHaveLength(4))
  expect(lines.filter(({ upload_id }) => upload_id === id).length).toBeGreaterThan(0)
  expect(JSON.stringify(lines)).not.toContain(proof)
  expect(JSON.stringify(lines)).not.toContain('link1.')
})

test('with presigned downloads a link leads to the bucket, under the name and disposition of the link', async () => {
  const { server, s3 } = await useS3Server({ DOWNLOAD_REDIRECT: 'presigned' })
  const call = clientOf(server.url)
  const id = await createUpload(call, 'video/mp4')
  for (const [wanted, told] of [
    [{}, 'attachment'],
    [{ disposition: 'inline' }, 'inline'],
  ] as const) {
    const redirect = await follow(await linkTo(call, id, wanted))
    expect([redirect.status, redirect.headers.get('cache-control')]).toEqual([302, 'no-store'])
    const answer = await fetch(redirect.headers.get('location') ?? '', { headers: { Range: 'bytes=0-9' } })
    expect(Buffer.from(await answer.arrayBuffer())).toEqual(BYTES.subarray(0, 10))
    expect(answer.headers.get('content-disposition')).toMatch(new RegExp(`^${told}; filename=`))
  }
  s3.reset()
  const head = await follow(await linkTo(call, id), {}, 'HEAD')
  expect([head.status, head.headers.get('content-length'), s3.count()]).toEqual([200, '1000', 0])
})

test('from S3 through the server a link gives the bytes', async () => {
  const { server } = await useS3Server()
  const call = clientOf(server.url)
  const link = await linkTo(call, await createUpload(call, 'video/mp4'))
  const answer = await follow(link, { Range: 'bytes=990-' })
  expect([answer.status, answer.headers.get('content-disposition')?.split(';', 1)[0]]).toEqual([
    206,
    'attachment',
  ])
  expect(Buffer.from(await answer.arrayBuffer())).toEqual(BYTES.subarray(990))
})
