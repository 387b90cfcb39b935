import type { IncomingMessage, Server } from 'node:http'
import type { Socket } from 'node:net'

/**
 * Connections that came back to the server and have brought no request since. Node takes them for new:
 * it would tell them 408 when no head comes in time, and leave them open in a shutdown.
 */
export function watchHandedBack(server: Server): { add(socket: Socket): void; close(): void } {
  const idle = new Set<Socket>()
  const leave = ({ socket }: IncomingMessage) => {
    if (idle.delete(socket)) socket.setTimeout(0)
  }
  server.prependListener('request', leave).prependListener('checkContinue', leave)
  return {
    add(socket) {
      idle.add(socket)
      socket.once('close', () => idle.delete(socket))
      socket.setTimeout(Math.min(server.keepAliveTimeout, server.headersTimeout / 2))
    },
    close() {
      for (const socket of idle) socket.destroy()
    },
  }
}
