// The SDK's own uploader, with its defaults, as one uses it without a server in between. POST /upload?bytes= sends
// a file of so many bytes, POST /proxied the body of the request, both as a new object, whose name is the answer's
// Location; GET reads an object, and answers how much of it there was, or with ?proxied its bytes.
// Environment: PORT, DIR, S3_ENDPOINT_URL, S3_BUCKET, AWS_REGION, S3_ACCESS_KEY_ID, S3_SECRET_ACCESS_KEY, S3_KEY_PREFIX.
import { randomFillSync, randomUUID } from 'node:crypto'
import { createReadStream, existsSync, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import http from 'node:http'
import { pipeline } from 'node:stream/promises'
import { S3 } from '@aws-sdk/client-s3'
import { Upload } from '@aws-sdk/lib-storage'

const { PORT, DIR, S3_ENDPOINT_URL, S3_BUCKET, AWS_REGION, S3_KEY_PREFIX } = process.env
const MIB = 1024 * 1024
mkdirSync(DIR, { recursive: true })

const client = new S3({
  endpoint: S3_ENDPOINT_URL,
  region: AWS_REGION,
  credentials: {
    accessKeyId: process.env.S3_ACCESS_KEY_ID,
    secretAccessKey: process.env.S3_SECRET_ACCESS_KEY,
  },
  forcePathStyle: true,
})

/** The same bytes as those of the load: one random block over and over. */
function fileOf(bytes) {
  const file = `${DIR}/${bytes}`
  if (!existsSync(file)) {
    const block = randomFillSync(Buffer.alloc(MIB))
    const blocks = Array.from({ length: Math.ceil(bytes / MIB) }, () => block)
    writeFileSync(`${file}.new`, Buffer.concat(blocks, bytes))
    renameSync(`${file}.new`, file)
  }
  return file
}

async function upload(Body) {
  const Key = `${S3_KEY_PREFIX}${randomUUID()}`
  await new Upload({ client, params: { Bucket: S3_BUCKET, Key, Body } }).done()
  return `/${Key}`
}

async function answer(req, res) {
  const url = new URL(req.url, 'http://x')
  if (req.method === 'POST') {
    const bytes = Number(url.searchParams.get('bytes') ?? 0)
    const Location = await upload(url.pathname === '/proxied' ? req : createReadStream(fileOf(bytes)))
    res.writeHead(201, { Location, 'Content-Length': 0 }).end()
    return
  }
  const { Body, ContentLength } = await client.getObject({ Bucket: S3_BUCKET, Key: url.pathname.slice(1) })
  if (url.searchParams.has('proxied')) {
    res.writeHead(200, { 'Content-Length': ContentLength })
    await pipeline(Body, res)
    return
  }
  let read = 0
  for await (const piece of Body) read += piece.length
  res.writeHead(200, { 'Content-Length': 0, 'X-Read': read }).end()
}

http
  .createServer({ requestTimeout: 0 }, (req, res) => {
    answer(req, res).catch((error) => {
      console.error(error)
      res.writeHead(500, { 'Content-Length': 0 }).end()
    })
  })
  .listen(Number(PORT), '127.0.0.1')
