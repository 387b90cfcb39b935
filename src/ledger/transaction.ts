/**
 * Limits of a transaction: longer than the wait for a lock, so that the lock's own error is the one
 * that is told, and long enough for a machine that stalls. Prisma's own are 2 and 5 seconds.
 */
export const TRANSACTION = { maxWait: 20_000, timeout: 30_000 }
