import type { IncomingMessage } from 'node:http'
import { isIP, SocketAddress } from 'node:net'

/**
 * The address that a request comes from.
 * @param trustProxy whether a proxy of ours tells the address: as the last one in X-Forwarded-For, since
 * what stands before that may have come from the client
 */
export function peerAddress({ headers, socket }: IncomingMessage, trustProxy: boolean): string {
  const forwarded = trustProxy ? withoutPort(lastOf(headers['x-forwarded-for'])) : ''
  const address = isIP(forwarded) ? forwarded : (socket.remoteAddress ?? '')
  return MAPPED.exec(address)?.[1] ?? address
}

/**
 * The address that a request is counted by. A client of IPv6 has a /64 to itself and may change its
 * address within that, so the network is what counts.
 */
export function clientAddress(req: IncomingMessage, trustProxy: boolean): string {
  const address = peerAddress(req, trustProxy)
  return isIP(address) === 6 ? networkOf(address) : address
}

/** An IPv4 address, as a socket for both gives it. */
const MAPPED = /^::ffff:([\d.]+)$/i

const lastOf = (header: string | string[] | undefined): string =>
  String(header ?? '')
    .split(',')
    .at(-1)
    ?.trim() ?? ''

/** Some proxies add the port: 192.0.2.1:4711, [2001:db8::1]:4711. */
const withoutPort = (address: string): string =>
  /^\[(.+)\](?::\d+)?$/.exec(address)?.[1] ?? /^([\d.]+):\d+$/.exec(address)?.[1] ?? address

/** An IPv4 address that IPv6 carries, as itself; of any other the first four groups. */
function networkOf(given: string): string {
  const { address } = new SocketAddress({ address: given, family: 'ipv6' })
  const mapped = /^::ffff:([\d.]+)$/.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [before, after] = address.split('::').map((part) => (part === '' ? [] : part.split(':')))
  const zeros = after ? 8 - (before?.length ?? 0) - after.length : 0
  const groups = [...(before ?? []), ...Array.from({ length: zeros }, () => '0'), ...(after ?? [])]
  return groups.slice(0, 4).join(':')
}
