import type { IncomingMessage } from 'node:http'
import { describe, expect, it } from 'vitest'
import { clientAddress, peerAddress } from '../../src/http/client-address.ts'

const requestFrom = (remoteAddress: string | undefined, forwarded?: string) =>
  ({
    headers: forwarded === undefined ? {} : { 'x-forwarded-for': forwarded },
    socket: { remoteAddress },
  }) as unknown as IncomingMessage

const direct = (address: string | undefined) => clientAddress(requestFrom(address), false)
const behindProxy = (forwarded: string) => clientAddress(requestFrom('10.0.0.1', forwarded), true)

describe('the address that a client is counted by', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::9', '2001:db8:1:2'],
    ['2001:db8::9', '2001:db8:0:0'],
    ['2001:db8:0:0:1::', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    [undefined, ''],
  ])('of %s is %s', (address, counted) => {
    expect(direct(address)).toBe(counted)
  })

  it('is the same however an address of one network is written', () => {
    expect(behindProxy('2001:DB8:0001:2:0::F')).toBe(behindProxy('2001:db8:1:2:a:b:c:d'))
  })

  it.each([
    ['203.0.113.5', '203.0.113.5'],
    ['198.51.100.1, 203.0.113.5', '203.0.113.5'],
    [' 203.0.113.5 ', '203.0.113.5'],
    ['203.0.113.5:4711', '203.0.113.5'],
    ['[2001:db8::1]:4711', '2001:db8:0:0'],
    ['[2001:db8::1]', '2001:db8:0:0'],
    ['2001:db8::1', '2001:db8:0:0'],
  ])('is what a trusted proxy says last: %s is %s', (forwarded, counted) => {
    expect(behindProxy(forwarded)).toBe(counted)
  })

  it.each(['', 'unknown', 'a.b.c.d', '203.0.113.5, ', '1.2.3.4.5', '[x]:1', '::1::', '1'.repeat(5000)])(
    "is the proxy's own where it says none: %s",
    (forwarded) => {
      expect(behindProxy(forwarded)).toBe('10.0.0.1')
    },
  )

  it('is the peer, whatever is forwarded, where no proxy is trusted', () => {
    expect(clientAddress(requestFrom('192.0.2.7', '203.0.113.5'), false)).toBe('192.0.2.7')
  })
})

describe('the address that a client has', () => {
  it.each([
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2:3:4:5:6'],
    [undefined, ''],
  ])('of %s is %s', (address, told) => {
    expect(peerAddress(requestFrom(address), false)).toBe(told)
  })

  it('is the last one that a trusted proxy tells, without its port', () => {
    expect(peerAddress(requestFrom('10.0.0.1', '203.0.113.7, [2001:db8::7]:4711'), true)).toBe('2001:db8::7')
    expect(peerAddress(requestFrom('10.0.0.1', '203.0.113.7'), false)).toBe('10.0.0.1')
  })
})
