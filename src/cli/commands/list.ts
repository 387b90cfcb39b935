import { nativeApi, type Shown } from '../client/native.ts'
import { persist } from '../client/persist.ts'
import { EXIT } from '../failure.ts'
import type { Terminal } from '../terminal/output.ts'
import { bytesWords, plain, tableWords } from '../terminal/words.ts'
import { openSession, type ServerOptions } from './client.ts'

export interface ListOptions extends ServerOptions {
  status?: string
  limit: number
}

const PAGE = 200

export async function list(terminal: Terminal, options: ListOptions): Promise<number> {
  const session = openSession(terminal, options)
  const api = nativeApi(session.connection.send)
  try {
    let cursor: string | null = null
    let left = options.limit
    do {
      const query: Record<string, string> = {
        limit: String(Math.min(left, PAGE)),
        ...(options.status !== undefined && { status: options.status.toUpperCase() }),
        ...(cursor !== null && { cursor }),
      }
      const page = await persist(session.patiently, () => api.list(query))
      if (options.json) for (const upload of page.uploads) session.tell({ ...upload }, '')
      else if (page.uploads.length > 0) terminal.stdout.write(`${tableWords(page.uploads.map(rowOf))}\n`)
      left -= page.uploads.length
      cursor = page.next_cursor
    } while (cursor !== null && left > 0)
    return EXIT.done
  } finally {
    session.close()
  }
}

const rowOf = (upload: Shown): string[] => cellsOf(upload).map(plain)

const cellsOf = (upload: Shown): string[] => [
  upload.upload_id,
  upload.status.padEnd(11),
  sizeWords(upload).padStart(8),
  shareOf(upload).padStart(5),
  upload.created_at.replace(/\.\d+Z$/, 'Z'),
  upload.file_name,
]

const sizeWords = ({ file_size: size }: Shown): string => (size === null ? '?' : bytesWords(size))

function shareOf({ file_size: size, uploaded_chunks: done, total_chunks: all, status }: Shown): string {
  if (status === 'COMPLETED') return '100 %'
  if (size === null || all === null) return '?'
  return `${all === 0 ? 0 : Math.floor((done / all) * 100)} %`
}
