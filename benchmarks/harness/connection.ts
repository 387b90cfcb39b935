import { connect, type Socket } from 'node:net'

export interface Reply {
  status: number
  /** names in lower case */
  headers: Record<string, string>
  bodyBytes: number
}

/** A keep-alive connection that sends one request at a time: no more work than the bytes need. */
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
  const socket = await new Promise<Socket>((resolve, reject) => {
    const opened: Socket = connect({ port, host: '127.0.0.1', noDelay: true }, () => resolve(opened))
    opened.once('error', reject)
  })
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
  socket.on('data', (bytes) => {
    let rest = bytes.length
    if (!reply) {
      head += bytes.toString('latin1')
      const end = head.indexOf('\r\n\r\n')
      if (end < 0) return
      rest = head.length - end - 4
      reply = parseHead(head.slice(0, end))
      if (reply.status === 100) {
        reply = null
        head = head.slice(end + 4)
        return
      }
      if (reply.headers['transfer-encoding'] !== undefined) {
        // Only small answers come in chunks: their last one tells the end.
        if (head.endsWith('\r\n0\r\n\r\n')) settle()
        else reply = null
        return
      }
      left = reply.status === 204 || reply.status === 304 ? 0 : Number(reply.headers['content-length'] ?? 0)
    }
    reply.bodyBytes += rest
    left -= rest
    if (left === 0) settle()
    else if (left < 0) fail(new Error('more bytes than announced'))
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
