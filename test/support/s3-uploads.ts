import { expect } from 'vitest'
import { TUS, type Client } from './client.ts'

/** Creates an upload by tus. @returns its path */
export async function createByTus(call: Client, size: number | null, headers = {}): Promise<string> {
  const length = size === null ? { 'Upload-Defer-Length': '1' } : { 'Upload-Length': String(size) }
  const answer = await call('POST', '/files', { headers: { ...TUS, ...length, ...headers } })
  expect(answer.status).toBe(201)
  return new URL(answer.headers.get('location') ?? '').pathname
}

/** Creates an upload by `init`. @returns its path */
export async function createByInit(call: Client, fields: object): Promise<string> {
  const answer = await call('POST', '/v1/uploads/init', { body: { file_name: 'a.bin', ...fields } })
  expect(answer.status).toBe(201)
  return `/v1/uploads/${answer.json.upload_id}`
}

/** The same upload by its other name. */
export const byTus = (path: string): string => path.replace('/v1/uploads/', '/files/')
export const natively = (path: string): string => path.replace('/files/', '/v1/uploads/')

export const offsetOf = async (call: Client, path: string): Promise<number> =>
  Number((await call('HEAD', byTus(path), { headers: TUS })).headers.get('upload-offset') ?? Number.NaN)

export const statusOf = async (call: Client, path: string): Promise<string> =>
  (await call('GET', natively(path))).json.status
