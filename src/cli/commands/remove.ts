import { nativeApi } from '../client/native.ts'
import { persist } from '../client/persist.ts'
import type { Terminal } from '../terminal/output.ts'
import { collector, openSession, type ServerOptions } from './client.ts'

export async function remove(terminal: Terminal, ids: string[], options: ServerOptions): Promise<number> {
  const session = openSession(terminal, options)
  const results = collector(terminal, session, options.json ?? false)
  const api = nativeApi(session.connection.send)
  try {
    for (const id of ids)
      try {
        await persist(session.patiently, () => api.remove(id))
        session.tell({ upload_id: id, removed: true }, id)
      } catch (error) {
        terminal.signal.throwIfAborted()
        results.failed(id, error)
      }
    return results.exitCode()
  } finally {
    session.close()
  }
}
