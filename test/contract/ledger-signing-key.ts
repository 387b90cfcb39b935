import { expect, test } from 'vitest'
import type { SigningKey } from '../../src/core/ports/ledger.ts'
import { range, type Fixture } from './ledger-fixture.ts'

const keyOf = (number: number): SigningKey => ({ id: `key-${number}`, secret: `secret "'\\ ${number}` })

/** The one key of all servers on a database. */
export function keepsSigningKey(current: () => Fixture): void {
  test('of keys that are offered at once, on several servers, one is kept, for good', async () => {
    const { ledger, other } = current()
    const told = await Promise.all(
      range(10).map((number) => (number % 2 ? ledger : other).signingKey(keyOf(number))),
    )
    const [kept] = told
    expect(told).toEqual(told.map(() => kept))
    expect(range(10).map(keyOf)).toContainEqual(kept)
    expect(await ledger.signingKey(keyOf(10))).toEqual(kept)
    expect(await other.signingKey(keyOf(11))).toEqual(kept)
  })
}
