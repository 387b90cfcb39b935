import type { IncomingMessage } from 'node:http'
import { originOf } from './tus-request.ts'

export interface PublicUrl {
  /** what clients reach this server by, without a slash at the end; null for the request's own host */
  publicBaseUrl: string | null
  /** whether forwarded headers tell the truth */
  trustProxy: boolean
}

/** What a URL of ours begins with in an answer; empty for a relative one. */
export const baseUrlOf = (req: IncomingMessage, { publicBaseUrl, trustProxy }: PublicUrl): string =>
  publicBaseUrl ?? originOf(req, trustProxy)
