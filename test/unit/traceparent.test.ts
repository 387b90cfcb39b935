import { expect, test } from 'vitest'
import { traceIdOf } from '../../src/core/traceparent.ts'

const TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
const SPAN = '00f067aa0ba902b7'

test.each([
  ['version 00', `00-${TRACE}-${SPAN}-01`],
  ['an unsampled one', `00-${TRACE}-${SPAN}-00`],
  ['a version to come, which may say more', `cc-${TRACE}-${SPAN}-01-what-the-future-brings`],
])('%s names its trace', (_name, header) => {
  expect(traceIdOf(header)).toBe(TRACE)
})

test.each([
  ['none', undefined],
  ['nothing', ''],
  ['version ff', `ff-${TRACE}-${SPAN}-01`],
  ['version 00 that says more', `00-${TRACE}-${SPAN}-01-more`],
  ['a trace of zeros', `00-${'0'.repeat(32)}-${SPAN}-01`],
  ['a parent of zeros', `00-${TRACE}-${'0'.repeat(16)}-01`],
  ['capitals', `00-${TRACE.toUpperCase()}-${SPAN}-01`],
  ['a short id', `00-${TRACE.slice(1)}-${SPAN}-01`],
  ['two headers, as node joins them', `00-${TRACE}-${SPAN}-01, 00-${TRACE}-${SPAN}-01`],
  ['a line break', `00-${TRACE}-${SPAN}-01\n`],
])('%s names no trace', (_name, header) => {
  expect(traceIdOf(header)).toBeNull()
})
