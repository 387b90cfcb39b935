import type { IncomingMessage } from 'node:http'
import { expect, test } from 'vitest'
import { isPlainAppend, plainCreation } from '../../src/http/tus-plain.ts'

const MOST = 1000
const request = (method: string, headers: Record<string, string>) =>
  ({ method, headers }) as unknown as IncomingMessage
const creation = (headers: Record<string, string>) => plainCreation(request('POST', headers), MOST)
const append = (headers: Record<string, string>) => isPlainAppend(request('PATCH', headers))

test('a creation with a length, and metadata or none, is plain', () => {
  expect(creation({ 'upload-length': '10' })).toEqual({ size: 10, metadata: {} })
  expect(creation({ 'upload-length': '0', 'upload-metadata': 'filename YS50eHQ=, draft' })).toEqual({
    size: 0,
    metadata: { filename: 'a.txt', draft: null },
  })
})

test('a creation that is special or wrong is left to @tus/server', () => {
  for (const headers of [
    {},
    { 'upload-length': '' },
    { 'upload-length': '010' },
    { 'upload-length': '-1' },
    { 'upload-length': '1e2' },
    { 'upload-length': '1001' },
    { 'upload-length': '10', 'upload-defer-length': '1' },
    { 'upload-length': '10', 'upload-concat': 'partial' },
    { 'upload-length': '10', 'upload-offset': '0' },
    { 'upload-length': '10', 'upload-metadata': 'filename not-base64' },
    { 'upload-length': '10', 'upload-metadata': 'a,a' },
    { 'upload-length': '10', 'upload-metadata': `a ${'YWFh'.repeat(2000)}` },
  ])
    expect([headers, creation(headers)]).toEqual([headers, null])
})

test('a PATCH that tells its offset and nothing else is plain', () => {
  expect(append({ 'upload-offset': '0' })).toBe(true)
  expect(append({ 'upload-offset': '10' })).toBe(true)
  for (const headers of [
    {},
    { 'upload-offset': '' },
    { 'upload-offset': '00' },
    { 'upload-offset': '-1' },
    { 'upload-offset': '1.5' },
    { 'upload-offset': '0', 'upload-length': '10' },
    { 'upload-offset': '0', 'upload-concat': 'partial' },
    { 'upload-offset': '0', 'upload-metadata': 'a' },
  ])
    expect([headers, append(headers)]).toEqual([headers, false])
  expect(isPlainAppend(request('POST', { 'upload-offset': '0' }))).toBe(false)
})
