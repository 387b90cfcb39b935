import type { z } from 'zod'
import type { ErrorCode } from '../../core/errors.ts'

/** Headers by their names. What is not optional is always there; `describe` says what it is. */
export type Fields = Readonly<Record<string, z.ZodType>>

/** What a route says of itself to those who use it. */
export interface Operation {
  /** its name, for clients that are generated; never changes */
  id: string
  summary: string
  /** what the summary leaves open, as Markdown */
  description?: string
  /** who may come; it brings the refusals that go with it */
  who: 'anybody' | 'link' | 'user' | 'sender' | 'owner' | 'admin' | 'scraper'
  /** fields of the query */
  query?: { readonly shape: Fields }
  /** headers of the request that mean something to this route, beyond the key */
  headers?: Fields
  body?: RequestBody
  replies: Readonly<Record<number, Reply>>
  /** what else may go wrong: in the table's words, or in words of its own */
  errors?: Readonly<Partial<Record<ErrorCode, true | string>>>
}

export interface RequestBody {
  /** JSON of a named schema, or bytes of the media type */
  content: z.ZodObject | string
  optional?: true
}

export interface Reply {
  words: string
  headers?: Fields
  /** JSON of a named schema, or something else of the media type; without it there is no body */
  content?: z.ZodObject | string
  /** of server-sent events: the data of each, by its name */
  events?: Readonly<Record<string, z.ZodObject>>
}

/** Operations that belong together, by method and path as they stand in the table of routes. */
export interface Group {
  name: string
  description: string
  /** how errors are answered: as JSON, or as plain text with the statuses that tus clients understand */
  errors: 'native' | 'tus'
  operations: Readonly<Record<string, Operation>>
}
