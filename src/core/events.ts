import type { Upload } from './upload.ts'
import { view } from './view.ts'

export const EVENT_TYPES = [
  'upload.created',
  'upload.completed',
  'upload.failed',
  'upload.expired',
  'upload.deleted',
] as const
export type EventType = (typeof EVENT_TYPES)[number]

/** What became of an upload; `upload` is as it is since. */
export interface Happening {
  type: EventType
  upload: Upload
  /** of a failure */
  reason?: string | undefined
}

/** What a receiver is told: `data` is the upload as the API shows it, and whose it is. */
export interface UploadEvent {
  id: string
  type: EventType
  occurred_at: string
  data: ReturnType<typeof view> & { user_id: string; failure_reason?: string }
}

export const eventOf = (id: string, { type, upload, reason }: Happening): UploadEvent => ({
  id,
  type,
  occurred_at: upload.updatedAt.toISOString(),
  data: { ...view(upload), user_id: upload.ownerId, ...(reason !== undefined && { failure_reason: reason }) },
})

/** An event that this process may send to one receiver, for a while. */
export interface Delivery {
  seq: number
  eventId: string
  /** the same at every attempt */
  body: string
  /** that have failed before */
  attempts: number
  claim: string
}

/** An event that was given up, for one receiver. */
export interface DeadLetter {
  seq: number
  endpoint: string
  event: UploadEvent
  attempts: number
  lastError: string | null
  lastAttemptAt: Date | null
}

/** What has not been delivered, to all receivers together. */
export interface Backlog {
  pending: number
  dead: number
  /** of the oldest that is pending; 0 for none */
  ageMs: number
}

/** Events on their way to receivers. Any number of processes may work on them. */
export interface Deliveries {
  /**
   * Takes what is due to a receiver, so that for `leaseMs` nobody else does. An upload's later event is not
   * due before the first attempt of the earlier one is over.
   */
  claim(endpoint: string, limit: number, leaseMs: number): Promise<Delivery[]>
  delivered(delivery: Delivery): Promise<void>
  /** Has it tried again after `retryInMs`, or never for null. Without effect where another process took it since. */
  failed(delivery: Delivery, why: string, retryInMs: number | null): Promise<void>
  /** Gives it back untried. */
  release(delivery: Delivery): Promise<void>
  /** Gives up what has been due for `ms` to receivers other than these. @returns how many */
  giveUpOthers(endpoints: readonly string[], ms: number): Promise<number>
  /** Forgets the oldest that were recorded more than so long ago, `limit` of each at most. @returns how many */
  forget(keep: { deliveredMs: number; deadMs: number }, limit: number): Promise<number>
  backlog(): Promise<Backlog>
  /** the latest first; behind `before`, where it is given */
  dead(limit: number, before?: number): Promise<DeadLetter[]>
  /** Has a dead event sent again, as if it were new. @returns to how many receivers */
  replay(eventId: string): Promise<number>
}
