import { Webhook } from 'standardwebhooks'
import { describe, expect, it } from 'vitest'
import { ConfigError, parseConfig } from '../../src/config/config.ts'
import { retryIn } from '../../src/events/backoff.ts'
import { signed } from '../../src/events/sign.ts'

type Env = Record<string, string | undefined>

const base64Of = (bytes: number) => Buffer.alloc(bytes, 'k').toString('base64')
const WEBHOOK_SECRET = `whsec_${base64Of(32)}`
const WEBHOOK_URL = 'https://a.example/hook'

const complaints = (env: Env): string[] => {
  try {
    parseConfig({ WEBHOOK_URL, WEBHOOK_SECRET, ...env })
    return []
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError)
    return (error as Error).message.split('\n')
  }
}
const webhooksOf = (env: Env) => parseConfig({ WEBHOOK_URL, WEBHOOK_SECRET, ...env }).webhooks

describe('webhooks', () => {
  it('are off unless WEBHOOK_URL is set, and have these limits when it is', () => {
    expect(parseConfig({ WEBHOOK_SECRET }).webhooks).toBeNull()
    expect(webhooksOf({})).toEqual({
      urls: [WEBHOOK_URL],
      secrets: [Buffer.alloc(32, 'k')],
      maxAttempts: 15,
      retryMs: 5_000,
      timeoutMs: 10_000,
    })
  })

  it('need a secret', () => {
    expect(complaints({ WEBHOOK_SECRET: '' })).toEqual(['WEBHOOK_SECRET must be set when WEBHOOK_URL is'])
  })

  it('may go to several receivers, each told once', () => {
    const urls = 'https://a.example:443/x?y=1, http://[::1]:3000 ,https://a.example/x?y=1'
    expect(webhooksOf({ WEBHOOK_URL: urls })?.urls).toEqual(['https://a.example/x?y=1', 'http://[::1]:3000/'])
  })

  it.each([
    'a.example',
    'ftp://a.example',
    'https://',
    'https://u:p@a.example',
    'https://a.example/#x',
    'https://a b/',
    `https://a.example/${'x'.repeat(2_000)}`,
  ])('do not go to %s', (url) => {
    const [line, ...more] = complaints({ WEBHOOK_URL: url })
    expect([line, more]).toEqual([expect.stringMatching(/^WEBHOOK_URL must be http\(s\) URLs/), []])
  })

  it.each([base64Of(24), `whsec_${base64Of(64)}`, `whsec_${base64Of(24)},${base64Of(30)}`])(
    'are signed with %s',
    (secret) => {
      expect(webhooksOf({ WEBHOOK_SECRET: secret })?.secrets).toHaveLength(secret.split(',').length)
    },
  )

  it.each([
    base64Of(23),
    base64Of(65),
    'whsec_',
    'hunter2-hunter2-hunter2-hunter2-hunter2',
    `${base64Of(32)},x`,
  ])('are not signed with %s, which no complaint shows', (secret) => {
    const [line, ...more] = complaints({ WEBHOOK_SECRET: secret })
    expect([line, more]).toEqual([expect.stringMatching(/^WEBHOOK_SECRET must be whsec_ and base64/), []])
    expect(line).not.toContain(secret.replace('whsec_', '').slice(0, 30) || '!')
  })

  it.each([
    ['WEBHOOK_MAX_ATTEMPTS', 'maxAttempts', '100', 100, ['0', '101', 'x']],
    ['WEBHOOK_RETRY_SECONDS', 'retryMs', '3600', 3_600_000, ['0', '3601', '1.5']],
    ['WEBHOOK_TIMEOUT_SECONDS', 'timeoutMs', '60', 60_000, ['0', '61', '-1']],
  ] as const)('take %s', (name, key, text, value, bad) => {
    expect(webhooksOf({ [name]: text })?.[key]).toBe(value)
    for (const wrong of bad)
      expect(complaints({ [name]: wrong })).toEqual([expect.stringMatching(new RegExp(`^${name} must be a`))])
  })
})

describe('the pause before another attempt', () => {
  const limits = { maxAttempts: 15, retryMs: 5_000 }

  it('grows threefold up to twelve hours, and ends with the attempts', () => {
    const pauses = Array.from({ length: 15 }, (_, i) => retryIn(i + 1, limits, () => 0))
    expect(pauses.slice(0, 4)).toEqual([5_000, 15_000, 45_000, 135_000])
    expect(pauses.slice(9, 14)).toEqual(Array(5).fill(43_200_000))
    expect(pauses[14]).toBeNull()
  })

  it('is at random between a half of that and all of it', () => {
    expect(retryIn(2, limits, () => 0.999_999)).toBe(7_500)
    const some = Array.from({ length: 100 }, () => retryIn(3, limits) as number)
    expect(Math.min(...some)).toBeGreaterThanOrEqual(22_500)
    expect(Math.max(...some)).toBeLessThanOrEqual(45_000)
    expect(new Set(some).size).toBeGreaterThan(50)
  })
})

describe('a signature', () => {
  it('is the one of Standard Webhooks, for each secret', () => {
    const secrets = ['the first of both of the secrets', 'the second of both of the secrets'].map((text) =>
      Buffer.from(text),
    )
    const body = '{"ä":1}'
    const headers = signed({ id: 'e1', body, at: new Date() }, secrets)
    expect(headers['webhook-signature']).toMatch(/^v1,\S{44} v1,\S{44}$/)
    for (const secret of secrets)
      expect(new Webhook(secret.toString('base64')).verify(body, headers)).toEqual({ ä: 1 })
  })

  it('of an attempt long ago counts no more', () => {
    const secret = Buffer.from('the only one of all of the secrets')
    const headers = signed({ id: 'e1', body: '{}', at: new Date(Date.now() - 600_000) }, [secret])
    expect(() => new Webhook(secret.toString('base64')).verify('{}', headers)).toThrow(/too old/)
  })
})
