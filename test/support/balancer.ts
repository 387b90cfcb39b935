import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

export interface Balancer {
  url: string
  /** the server that got the last connection */
  last(): string
  close(): Promise<void>
}

/** Gives connections to servers in turn, as a load balancer does; to the next one where one is gone. */
export async function startBalancer(targets: readonly string[]): Promise<Balancer> {
  const sockets = new Set<Socket>()
  let turn = 0
  let last = ''

  async function dial(): Promise<Socket | null> {
    for (let tries = 0; tries < targets.length; tries++) {
      const target = targets[turn++ % targets.length] as string
      const { hostname, port } = new URL(target)
      const socket = connect(Number(port), hostname)
      try {
        await once(socket, 'connect')
        last = target
        return socket
      } catch {
        // The next one, then.
      }
    }
    return null
  }

  const server = createServer({ pauseOnConnect: true }, (client) => {
    sockets.add(client)
    client.on('error', () => client.destroy())
    void dial().then((upstream) => {
      if (!upstream) return client.destroy()
      sockets.add(upstream)
      const end = () => {
        client.destroy()
        upstream.destroy()
      }
      for (const socket of [client, upstream]) socket.on('error', end).on('close', end)
      return client.pipe(upstream).pipe(client)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    last: () => last,
    async close() {
      for (const socket of sockets) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
