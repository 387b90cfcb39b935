import type { Worker } from 'node:cluster'

/** What `node:cluster` says to a worker when it hands a connection over, and what the worker answers. */
interface ClusterMessage {
  act?: string
  seq?: number
  ack?: number
}

interface Closable {
  close(): void
}

/**
 * Closes the connections that were on their way to a worker when it died. `node:cluster` keeps those open, and
 * their clients would wait for ever; closed, they try again.
 */
export function closeUndelivered({ process: child }: Worker): void {
  const onTheWay = new Map<number, Closable>()
  const send = child.send.bind(child) as (...args: unknown[]) => boolean
  child.send = (message: ClusterMessage, handle?: unknown, ...rest: unknown[]): boolean => {
    if (message.act === 'newconn' && message.seq !== undefined && isClosable(handle))
      onTheWay.set(message.seq, handle)
    return send(message, handle, ...rest)
  }
  child.on('internalMessage', ({ ack }: ClusterMessage) => {
    if (ack !== undefined) onTheWay.delete(ack)
  })
  const close = (): void => {
    for (const handle of onTheWay.values()) handle.close()
    onTheWay.clear()
  }
  child.once('disconnect', close)
  child.once('exit', () => {
    close()
    // While a connection is on its way node does not see that the channel has ended.
    if (child.connected) child.disconnect()
  })
}

const isClosable = (handle: unknown): handle is Closable =>
  typeof (handle as Partial<Closable> | null | undefined)?.close === 'function'
