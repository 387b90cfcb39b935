const TRACEPARENT = /^(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?$/

/**
 * The id of the trace that a request belongs to, by its `traceparent` header; null without a valid one.
 * @see https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function traceIdOf(header: string | undefined): string | null {
  if (header === undefined) return null
  const [, version, traceId = null, more] = TRACEPARENT.exec(header) ?? []
  // Only versions to come may say more.
  return version === '00' && more !== undefined ? null : traceId
}
