import type { Logger } from 'pino'
import type { Config } from '../config/config.ts'
import { claimDatabase, type Claim } from '../ledger/claim.ts'

/** what a process needs to end, beyond its grace; by then one that hangs has ended itself */
const ENDING_MS = 6_000

/** The claim of this process on its database, once those that it can't be shared with are gone. */
export const claimFor = (config: Config, log: Logger): Promise<Claim> =>
  claimDatabase(config.databaseUrl, {
    shared: config.leases,
    // After a restart the process before may be in the middle of its shutdown.
    patienceMs: config.shutdownGraceMs + ENDING_MS,
    onWait: (file) => log.warn({ file }, 'another process works on the database; waiting for its end'),
  })
