// The floor: node:http and a file, no protocol, no checks. POST makes a file, PATCH and PUT write the body at
// ?at= (or Upload-Offset) in batches of up to 1 MiB while the next batch gathers, GET sends the file as
// `fs.createReadStream(path).pipe(res)` does, in reads of 64 KiB. Environment: PORT, DIR.
import { randomUUID } from 'node:crypto'
import { createReadStream, mkdirSync, openSync, closeSync, open, close, statSync, writev } from 'node:fs'
import http from 'node:http'

const dir = process.env.DIR
mkdirSync(dir, { recursive: true })
const BATCH_BYTES = 1024 * 1024

function store(req, res, file, position) {
  open(file, 'r+', (failed, fd) => {
    if (failed) throw failed
    let gathered = []
    let bytes = 0
    let writing = false
    let ended = false
    const flush = () => {
      if (writing) return
      if (bytes === 0) {
        if (ended) close(fd, () => res.writeHead(204, { 'Upload-Offset': position }).end())
        return
      }
      const batch = gathered
      const at = position
      position += bytes
      gathered = []
      bytes = 0
      writing = true
      writev(fd, batch, at, (error) => {
        if (error) throw error
        writing = false
        if (req.isPaused()) req.resume()
        flush()
      })
    }
    req.on('data', (piece) => {
      gathered.push(piece)
      bytes += piece.length
      if (bytes >= BATCH_BYTES) req.pause()
      flush()
    })
    req.on('end', () => {
      ended = true
      flush()
    })
  })
}

http
  .createServer({ highWaterMark: 256 * 1024, requestTimeout: 0 }, (req, res) => {
    const url = new URL(req.url, 'http://x')
    const file = `${dir}/${url.pathname.split('/').at(-1)}`
    if (req.method === 'POST') {
      const id = randomUUID()
      closeSync(openSync(`${dir}/${id}`, 'w'))
      res.writeHead(201, { Location: `/files/${id}` }).end()
    } else if (req.method === 'GET') {
      const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(req.headers.range ?? '') ?? []
      const range = start === undefined ? {} : { start: Number(start), end: Number(end) }
      const bytes = start === undefined ? statSync(file).size : Number(end) - Number(start) + 1
      res.writeHead(start === undefined ? 200 : 206, { 'Content-Length': bytes })
      createReadStream(file, range).pipe(res)
    } else store(req, res, file, Number(url.searchParams.get('at') ?? req.headers['upload-offset'] ?? 0))
  })
  .listen(Number(process.env.PORT), '127.0.0.1')
