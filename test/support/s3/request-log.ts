import { targetOf, type Operation } from './operation.ts'

/** A request as it was seen. */
export interface S3Request {
  method: string
  /** null when it is none that is known */
  operation: Operation | null
  bucket: string
  key: string
  /** the parameters but those of a signature */
  query: Record<string, string>
  /** in lower case */
  headers: Record<string, string>
  /** of the answer; null while there is none */
  status: number | null
  /** the code of an error */
  code: string | null
}

export interface RequestLog<Request extends S3Request = S3Request> {
  /** in the order of their arrival */
  readonly requests: Request[]
  /** how many there were, of all operations or these */
  count(...operations: Operation[]): number
  /** how many there were of each operation */
  counts(): Partial<Record<Operation | 'unknown', number>>
  /** Forgets them. */
  reset(): void
}

export function newRequestLog<Request extends S3Request = S3Request>(): RequestLog<Request> {
  const requests: Request[] = []
  return {
    requests,
    count: (...operations) =>
      requests.filter(
        ({ operation }) => operations.length === 0 || (operation !== null && operations.includes(operation)),
      ).length,
    counts() {
      const counts: Partial<Record<Operation | 'unknown', number>> = {}
      for (const { operation } of requests) {
        const name = operation ?? 'unknown'
        counts[name] = (counts[name] ?? 0) + 1
      }
      return counts
    },
    reset() {
      requests.length = 0
    },
  }
}

export function toRequest(
  method: string,
  url: string,
  rawHeaders: NodeJS.Dict<string | string[]>,
): S3Request {
  const { operation, bucket, key, query } = targetOf(method, url, rawHeaders)
  const headers = Object.entries(rawHeaders).map(([name, value]) => [name, String(value)])
  return {
    method,
    operation,
    bucket,
    key,
    query: Object.fromEntries([...query].filter(([name]) => !name.startsWith('X-Amz-'))),
    headers: Object.fromEntries(headers),
    status: null,
    code: null,
  }
}
