import type { Logger } from 'pino'
import { toHttpError } from '../core/errors.ts'
import type { LifeEvent, Listener } from './lifecycle.ts'
import type { RequestLine } from './log.ts'

/** A request, as far as the audit log asks: who, from where, and about which upload. */
export interface Asker {
  readonly requestId: string
  readonly traceId: string | null
  readonly userId: string
  readonly uploadId: string
  /** the id of an upload that it may create */
  readonly newId: string
  /** whether a token for that one upload let them in */
  readonly byUploadToken: boolean
  readonly route: string
  readonly req: { readonly method?: string | undefined }
}

export interface Audit<A extends Asker> {
  /** Notes a request that is worked on. @returns what ends that */
  open(asker: A): () => void
  /** what becomes of uploads */
  tell: Listener
  /** A request is over: a download is told, and what was refused. */
  over(line: RequestLine, asker: A): void
}

const ACTIONS = {
  created: 'create',
  completed: 'complete',
  failed: 'fail',
  deleted: 'delete',
  expired: 'expire',
} as const satisfies Record<LifeEvent['kind'], string>

/** Routes that let others in, of which the database keeps nothing. */
const GRANTS: Readonly<Record<string, string>> = {
  'POST /v1/uploads/:id/links': 'create_link',
  'POST /v1/uploads/:id/tokens': 'create_token',
}

/** What a route is about, where its refusal is worth a line. */
const ATTEMPTS: Readonly<Record<string, string>> = {
  ...GRANTS,
  'POST /v1/uploads/init': 'create',
  'POST /files': 'create',
  'POST /v1/uploads/:id/complete': 'complete',
  'GET /v1/uploads/:id/download': 'download',
  'GET /files/:id': 'download',
  'GET /v1/links/:token': 'download',
  'DELETE /v1/uploads/:id': 'delete',
  'DELETE /files/:id': 'delete',
}

/**
 * Who did what to which file, from where: a line each, at whatever level the log is. Fields are chosen one
 * by one, so that no key and no token gets in.
 */
export function createAudit<A extends Asker>(log: Logger, addressOf: (asker: A) => string): Audit<A> {
  const lines = log.child({ audit: true }, { level: 'info' })
  const askers = new Set<A>()
  /** A connection forgets its client when it closes. */
  const addresses = new WeakMap<A, string>()

  /** Who may have brought it about: all of them, where several write to one upload at once. */
  const causesOf = ({ kind, upload: { id, ownerId } }: LifeEvent): A[] => {
    if (kind === 'expired') return []
    // A stranger names an upload, too, until they are refused.
    const about = [...askers].filter(
      (asker) =>
        (asker.uploadId === id || asker.newId === id) && asker.userId === ownerId && mayChange(asker),
    )
    const deleting = about.filter((asker) => ATTEMPTS[rowOf(asker)] === 'delete')
    // What fails its first checks is taken back by the request that created it.
    if (kind === 'deleted' && deleting.length > 0) return deleting
    return about.filter(({ req }) => req.method !== 'DELETE')
  }
  const whoAndWhere = (asker: A) => ({
    ...(asker.userId && { user: asker.userId }),
    ...(asker.byUploadToken && { by: 'upload_token' }),
    ...(asker.route === LINK && { by: 'link' }),
    client: addresses.get(asker),
    request_id: asker.requestId,
    ...(asker.traceId !== null && { trace_id: asker.traceId }),
  })

  return {
    open(asker) {
      askers.add(asker)
      addresses.set(asker, addressOf(asker))
      return () => askers.delete(asker)
    },
    tell(event) {
      const { id, ownerId, fileName, size } = event.upload
      const [first, ...others] = causesOf(event)
      lines.info(
        {
          action: ACTIONS[event.kind],
          result: 'ok',
          upload_id: id,
          owner: ownerId,
          file_name: fileName,
          size,
          ...(event.reason !== undefined && { reason: event.reason }),
          ...(first && whoAndWhere(first)),
          ...(others.length > 0 && { also_at_work: others.map(({ requestId }) => requestId) }),
        },
        'audit',
      )
    },
    over(line, asker) {
      const action = ATTEMPTS[`${line.method} ${line.route}`]
      const result = action && resultOf(line)
      if (result === undefined) return
      const { uploadId, download, failure } = line
      lines.info(
        {
          action,
          result,
          ...(uploadId && { upload_id: uploadId }),
          ...(download && whatOf(download)),
          ...(result !== 'ok' && { status: line.status, ...codeOf(failure) }),
          ...whoAndWhere(asker),
        },
        'audit',
      )
    },
  }
}

const LINK = '/v1/links/:token'
const CHANGES = new Set(['POST', 'PUT', 'PATCH', 'DELETE'])

const rowOf = ({ req, route }: Asker): string => `${req.method} ${route}`
const mayChange = (asker: Asker): boolean => CHANGES.has(asker.req.method ?? '') && !(rowOf(asker) in GRANTS)

type Download = NonNullable<RequestLine['download']>

/** @returns undefined where nothing happened that is to be told here: what succeeds otherwise, the ledger tells */
function resultOf({ method, route, status, download, failure }: RequestLine): string | undefined {
  if (status >= 500 || (failure !== undefined && toHttpError(failure).status >= 500)) return 'failed'
  if (status === 499) return download ? 'broken_off' : undefined
  if (status >= 400) return 'refused'
  if (`${method} ${route}` in GRANTS) return 'ok'
  if (!download || status === 304) return undefined
  return status === 302 ? 'redirected' : 'ok'
}

const whatOf = ({ upload, ranges, bytes }: Download) => ({
  owner: upload.ownerId,
  file_name: upload.fileName,
  size: upload.size,
  bytes,
  // As in a Range header: both ends count.
  ...(ranges && { range: ranges.map(({ start, end }) => `${start}-${end - 1}`).join(',') }),
})

const codeOf = (failure: unknown) => (failure === undefined ? {} : { error_code: toHttpError(failure).code })
