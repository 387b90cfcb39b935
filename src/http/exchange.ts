import type { Request, Response } from 'express'
import type { Admission, Body } from '../core/ports.ts'

/** One request and its answer, with what the guards found out. */
export interface Exchange {
  readonly req: Request
  readonly res: Response
  readonly requestId: string
  /** the pattern of the route, never the URL */
  route: string
  /** who asks; empty where nobody needs to be known */
  userId: string
  /** the upload that the request is about, or that it creates */
  uploadId: string
  /** the right to a body; null where the route takes none */
  admission: Admission | null
  /** why the request failed, for the log */
  failure: unknown
}

export type Handler = (exchange: Exchange) => Promise<void> | void

/** Who may come, or what must be so, before a handler runs. Throws HttpError to refuse. */
export type Guard = (exchange: Exchange) => Promise<void> | void

/** Opens the body of a request, once. */
export type OpenBody = (exchange: Exchange) => Body

/** The admission that the route's guard got. */
export function admissionOf({ admission }: Exchange): Admission {
  if (!admission) throw new Error('this route takes no body')
  return admission
}
