import { setTimeout as sleep } from 'node:timers/promises'
import { lostRace } from './failures.ts'
import type { Db } from './open.ts'
import type { Client } from './statements.ts'

/** Runs `work` as one transaction: all of it or nothing. It may run several times, and the last counts. */
export type Transact = <T>(work: (tx: Client) => Promise<T>) => Promise<T>

/** of a transaction that others are in the way of, and between which it waits longer and longer */
const TRIES = 6
const PAUSE_MS = 10

export function transactor({ client, dialect }: Db): Transact {
  const once: Transact = (work) => client.$transaction(work)
  return dialect.locksRows ? (work) => persistently(() => once(work)) : once
}

/** Tries again what the database broke off in favour of another transaction: nothing of it was done. */
export async function persistently<T>(run: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await run()
    } catch (error) {
      if (tries === TRIES || !lostRace(error)) throw error
    }
    await sleep(PAUSE_MS * 2 ** tries * (0.5 + Math.random()))
  }
}
