import { connect, type Socket } from 'node:net'

export interface Reply {
  status: number
  /** names in lower case */
  headers: Record<string, string>
  bodyBytes: number
}

/** What the connections of a process read into, one after the other: what they bring is counted, not kept. */
const READ_BYTES = 256 * 1024
/** of a piece, what is looked at where a head may stand; answers in chunks are not longer */
const HEAD_BYTES = 16 * 1024
const received = Buffer.allocUnsafeSlow(READ_BYTES)

/**
 * A keep-alive connection that sends one request at a time: no more work than the bytes need. Bodies are
 * counted as they come, by their announced length, in a buffer that is used again: a stream of fresh ones
 * would take more CPU than a server that sends them.
 */
export interface Connection {
  send(
    method: string,
    path: string,
    headers: Record<string, string>,
    body?: readonly Buffer[],
  ): Promise<Reply>
  close(): void
}

export async function openConnection(port: number): Promise<Connection> {
  let waiting: { resolve(reply: Reply): void; reject(error: Error): void } | null = null
  let head = ''
  let reply: Reply | null = null
  let left = 0

  const fail = (error: Error) => {
    waiting?.reject(error)
    waiting = null
  }
  const settle = () => {
    const done = reply as Reply
    reply = null
    head = ''
    const waiter = waiting
    waiting = null
    waiter?.resolve(done)
  }
  const take = (bytes: number): boolean => {
    let rest = bytes
    if (!reply) {
      const before = head.length
      head += received.toString('latin1', 0, Math.min(bytes, HEAD_BYTES))
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return true
      rest = before + bytes - end - 4
      reply = parseHead(head.slice(0, end))
      if (reply.status === 100) {
        reply = null
        head = head.slice(end + 4)
        return true
      }
      if (reply.headers['transfer-encoding'] !== undefined) {
        // Only small answers come in chunks: their last one tells the end.
        if (head.endsWith('\r\n0\r\n\r\n')) settle()
        else reply = null
        return true
      }
      left = reply.status === 204 || reply.status === 304 ? 0 : Number(reply.headers['content-length'] ?? 0)
    }
    reply.bodyBytes += rest
    left -= rest
    if (left === 0) settle()
    else if (left < 0) fail(new Error('more bytes than announced'))
    return true
  }
  const socket = await new Promise<Socket>((resolve, reject) => {
    const onread = { buffer: received, callback: take }
    const opened: Socket = connect({ port, host: '127.0.0.1', noDelay: true, onread }, () => resolve(opened))
    opened.once('error', reject)
  })
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed the connection')))

  return {
    send(method, path, headers, body = []) {
      const length = body.reduce((sum, piece) => sum + piece.length, 0)
      const lines = Object.entries({
        Host: `127.0.0.1:${port}`,
        ...headers,
        'Content-Length': String(length),
      })
      const text = `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
      return new Promise((resolve, reject) => {
        waiting = { resolve, reject }
        // Closed while nobody waited: nobody would be told.
        if (socket.destroyed) return fail(new Error('the server closed the connection'))
        socket.cork()
        socket.write(text, 'latin1')
        for (const piece of body) socket.write(piece)
        socket.uncork()
      })
    },
    close: () => socket.destroy(),
  }
}

function parseHead(text: string): Reply {
  const [first = '', ...lines] = text.split('\r\n')
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  return { status: Number(first.split(' ')[1]), headers, bodyBytes: 0 }
}
