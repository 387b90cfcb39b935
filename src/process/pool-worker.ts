import cluster from 'node:cluster'
import { unavailable } from '../core/errors.ts'
import type { FromPrimary, FromWorker } from './pool-messages.ts'

/** The other processes of WEB_CONCURRENCY, as a worker knows them. */
export interface Pool {
  /** Says that this worker serves, and will end by a signal. */
  tellUp(url: string): void
  /** When the first process is gone, and with it the port and whoever would take this one's place. */
  onOrphaned(listener: () => void): void
  /** Tells the others what this worker has counted, when they want to know. */
  answerMetrics(snapshot: () => Promise<string>): void
  /** What all have counted. @throws {HttpError} unavailable 503, where the first process says nothing */
  gatherMetrics(): Promise<readonly string[]>
}

/** longer than the first process waits for a worker */
const PATIENCE_MS = 3_000

/** @throws where this process is no worker */
export function joinPool(): Pool {
  const { worker } = cluster
  if (!worker) throw new Error('not a worker')
  const say = (message: FromWorker): void => {
    if (worker.isConnected()) worker.send(message, () => {})
  }
  let snapshot: (() => Promise<string>) | null = null
  let gathering: Promise<readonly string[]> | null = null
  let onAll: (snapshots: readonly string[]) => void = () => {}

  worker.on('message', (message: FromPrimary) => {
    if (message.type === 'metrics-all') onAll(message.snapshots)
    if (message.type !== 'metrics-asked' || !snapshot) return
    const { round } = message
    // One that can't count now is one that does not answer.
    snapshot().then(
      (told) => say({ type: 'metrics-told', round, snapshot: told }),
      () => {},
    )
  })

  const gather = () =>
    new Promise<readonly string[]>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(unavailable('The first process does not say what the others have counted.'))
      }, PATIENCE_MS)
      onAll = (snapshots) => {
        clearTimeout(timer)
        resolve(snapshots)
      }
      say({ type: 'metrics-wanted' })
    })

  return {
    tellUp: (url) => say({ type: 'up', url }),
    onOrphaned(listener) {
      worker.once('disconnect', () => {
        // Else Node would end this process on the spot, and break off what it is answering.
        worker.exitedAfterDisconnect = true
        listener()
      })
    },
    answerMetrics(told) {
      snapshot = told
    },
    gatherMetrics() {
      gathering ??= gather().finally(() => (gathering = null))
      return gathering
    },
  }
}
