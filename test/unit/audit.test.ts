import { expect, test } from 'vitest'
import type { NewUpload } from '../../src/core/upload.ts'
import { createAudit, type Asker } from '../../src/observe/audit.ts'
import { createLog } from '../../src/observe/log.ts'

const askerOf = (userId: string, method: string, route: string): Asker => ({
  requestId: `of ${userId}`,
  traceId: null,
  userId,
  uploadId: 'the-upload',
  newId: '',
  byUploadToken: false,
  route,
  req: { method },
})

test('who is about to be refused, or lets others in, has not completed the upload', () => {
  const lines: Record<string, unknown>[] = []
  const log = createLog('info', { write: (line) => void lines.push(JSON.parse(line)) })
  const audit = createAudit<Asker>(log, () => '192.0.2.1')
  audit.open(askerOf('bob', 'POST', '/v1/uploads/:id/complete'))
  audit.open(askerOf('alice', 'POST', '/v1/uploads/:id/links'))
  const upload = { id: 'the-upload', ownerId: 'alice', fileName: 'a', size: 1 } as NewUpload
  audit.tell({ kind: 'completed', upload, at: new Date() })
  expect(lines).toHaveLength(1)
  expect(lines[0]).not.toHaveProperty('user')
  expect(lines[0]).not.toHaveProperty('also_at_work')
})
