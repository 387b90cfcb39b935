import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Request, Response } from 'express'
import type { Body, Turn } from '../core/ports/body.ts'
import type { Admission } from '../core/ports/gate.ts'
import type { Download } from './download.ts'

/** One request and its answer, with what the guards found out. */
export interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  /** what the path has in the places of the route's pattern */
  readonly params: Readonly<Record<string, string | string[]>>
  readonly requestId: string
  /** of the trace that the request belongs to; null for none */
  readonly traceId: string | null
  /** the pattern of the route, never the URL */
  readonly route: string
  /** who asks; empty where nobody needs to be known */
  userId: string
  /** the upload that the request is about, once there is one; empty before */
  uploadId: string
  /** the id of an upload that the request may create */
  newId: string
  /** whether a token for that one upload let them in */
  byUploadToken: boolean
  /** whether a file is to be saved, and not shown, whatever its type */
  asAttachment: boolean
  /** the right to a body; null where the route takes none */
  admission: Admission | null
  /** what the request has downloaded so far; null where it downloads nothing */
  download: Download | null
  /** why the request failed, for the log */
  failure: unknown
}

/** One that came through Express. */
export interface ExpressExchange extends Exchange {
  readonly req: Request
  readonly res: Response
}

/** Who holds a token for one upload must not get in the way of its owner's other requests. */
export const asker = ({ userId, uploadId, byUploadToken }: Exchange): string =>
  byUploadToken ? `upload:${uploadId}` : userId

export type Handler = (exchange: ExpressExchange) => Promise<void> | void

/** Who may come, or what must be so, before a handler runs. Throws HttpError to refuse. */
export type Guard = (exchange: ExpressExchange) => Promise<void> | void

/** Those that need nothing of Express. */
export type PlainHandler = (exchange: Exchange) => Promise<void> | void
export type PlainGuard = (exchange: Exchange) => Promise<void> | void

/** Opens the body of a request, once. */
export type OpenBody = (exchange: Exchange) => Body

/**
 * Does what the route's body was admitted for, and gives its place back as soon as that is done: how
 * long the client takes to fetch the answer is nobody else's business.
 */
export async function admitted<T>(exchange: Exchange, work: (turn: Turn) => Promise<T>): Promise<T> {
  const { admission } = exchange
  if (!admission) throw new Error('this route takes no body')
  try {
    return await work(admission)
  } finally {
    admission.release()
  }
}
