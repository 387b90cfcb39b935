import { connect, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** Lines of a request's head, with the empty one behind them. */
export const lines = (...parts: string[]): string => `${parts.join('\r\n')}\r\n\r\n`

export const openSocket = (url: string): Socket => connect(Number(new URL(url).port), '127.0.0.1')

export interface RawConnection {
  socket: Socket
  send(bytes: string | Uint8Array): void
  /** Everything that came back, once it matches; rejects when the other side closes before it does. */
  sees(pattern: RegExp): Promise<string>
  /** what came back until the other side closed */
  closed: Promise<string>
}

/** A connection on which the test says every byte. */
export function rawConnection(url: string): RawConnection {
  const socket = openSocket(url)
  let told = ''
  const watchers = new Set<() => void>()
  const watch = () => {
    for (const watcher of watchers) watcher()
  }
  socket.setEncoding('latin1').on('data', (text: string) => {
    told += text
    watch()
  })
  socket.on('error', () => {})
  const closed = new Promise<string>((resolve) => {
    socket.once('close', () => {
      watch()
      resolve(told)
    })
  })
  onTestFinished(() => {
    socket.destroy()
  })
  return {
    socket,
    send: (bytes) => void socket.write(bytes),
    closed,
    sees: (pattern) =>
      new Promise((resolve, reject) => {
        const watcher = () => {
          if (pattern.test(told)) resolve(told)
          else if (socket.destroyed) reject(new Error(`closed without ${String(pattern)}: ${told}`))
          else return
          watchers.delete(watcher)
        }
        watchers.add(watcher)
        watcher()
      }),
  }
}
