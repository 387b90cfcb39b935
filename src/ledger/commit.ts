import type { Commit, Committed } from '../core/ports/ledger.ts'
import { commitAll } from './batch.ts'
import type { Dialect } from './dialect.ts'
import { inGroups, type Group } from './group.ts'
import { completedBy, type Outbox } from './outbox.ts'
import type { Quota } from './quota.ts'
import type { Transact } from './transaction.ts'

/** SQLite joins at most 500 SELECTs, and a batch asks one for each commit. */
const MAX_BATCH = 64

/** Commits that arrive while a transaction runs share the next one; each resolves once its own is committed. */
export const groupCommit = (
  transact: Transact,
  dialect: Dialect,
  quota: Quota | null,
  outbox: Outbox | null,
): Group<Commit, Committed> =>
  inGroups(MAX_BATCH, (commits) =>
    transact(async (tx) => {
      const committed = await commitAll(tx, dialect, quota, commits)
      await outbox?.record(tx, completedBy(committed))
      return committed
    }),
  )
