import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface Proxy {
  /** what a client uses in place of the server's own */
  url: string
  /** Cuts every connection; while `down`, new ones are cut at once. */
  cut(down?: boolean): void
  /** Nothing passes any more, either way, and nobody is told. What was open then stays so. */
  silence(): void
  /** Lets connections in again, and passes on what new ones send. */
  restore(): void
  /** how many connections it has cut */
  cuts(): number
  close(): Promise<void>
}

export interface ProxyOptions {
  /** at most this many bytes a second go up through each connection; no limit by default */
  bytesPerSecond?: number
  /** bytes that may go up through a connection before it is cut; asked once for each */
  cutAfterBytes?: () => number
}

const TICK_MS = 20

/** A TCP proxy between a client and `target`: the network of a test, to be slowed down and cut. */
export async function startProxy(target: string, options: ProxyOptions = {}): Promise<Proxy> {
  const { hostname, port } = new URL(target)
  const sockets = new Set<Socket>()
  let down = false
  let silent = false
  let cuts = 0
  const hushed = new WeakSet<Socket>()

  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    const end = () => {
      client.destroy()
      upstream.destroy()
      sockets.delete(client)
    }
    client.on('error', end).on('close', end)
    // Behind silence the client does not even learn that the other side is gone.
    upstream.on('error', () => {}).on('close', () => hushed.has(client) || end())
    sockets.add(client)
    if (down) {
      cuts += 1
      return end()
    }
    if (silent) hushed.add(client)
    upstream.on('data', (bytes) => {
      if (!hushed.has(client) && !client.write(bytes)) upstream.pause()
    })
    client.on('drain', () => upstream.resume())
    upstream.on('end', () => hushed.has(client) || client.end())
    let room = options.cutAfterBytes?.() ?? Number.POSITIVE_INFINITY
    client.on('data', (bytes) => {
      if (hushed.has(client)) return
      upstream.write(bytes.subarray(0, room))
      room -= bytes.length
      if (room <= 0) {
        cuts += 1
        // What was let through shall arrive; then both sides see the connection break.
        client.destroy()
        upstream.end()
        return
      }
      slowDown(client, bytes.length, options.bytesPerSecond)
    })
    client.on('end', () => upstream.end())
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')

  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    cut(stayDown = false) {
      down = stayDown
      cuts += sockets.size
      for (const socket of sockets) socket.destroy()
    },
    silence() {
      silent = true
      for (const socket of sockets) hushed.add(socket)
    },
    restore() {
      down = false
      silent = false
    },
    cuts: () => cuts,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}

function slowDown(client: Socket, bytes: number, bytesPerSecond?: number): void {
  if (bytesPerSecond === undefined) return
  client.pause()
  setTimeout(() => client.resume(), Math.max(TICK_MS, (bytes / bytesPerSecond) * 1000))
}

/** Numbers in [0, 1) that are the same each time (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
