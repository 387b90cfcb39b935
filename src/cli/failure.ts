/** What the process ends with, as docs/cli.md lists it. */
export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** the server does not take the key, or the upload is somebody else's */
  refused: 3,
  interrupted: 130,
  terminated: 143,
} as const

export interface FailureFacts {
  exitCode?: number
  /** of the server's answer, where there was one */
  status?: number | null
  /** whether the same request may succeed later */
  retry?: boolean
  /** how long the server asks to wait */
  retryAfterMs?: number | null
  cause?: unknown
}

/** What a person is told in one line, without a stack. */
export class Failure extends Error {
  readonly exitCode: number
  readonly status: number | null
  readonly retry: boolean
  readonly retryAfterMs: number | null

  constructor(message: string, facts: FailureFacts = {}) {
    super(message, { cause: facts.cause })
    this.exitCode = facts.exitCode ?? EXIT.failed
    this.status = facts.status ?? null
    this.retry = facts.retry ?? false
    this.retryAfterMs = facts.retryAfterMs ?? null
  }
}

/** Whether the server knows an upload no more, or never let us have it. */
export const isGone = (error: unknown): boolean =>
  error instanceof Failure && [403, 404, 410].includes(error.status ?? 0)
