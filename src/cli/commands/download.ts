import { nativeApi, type Shown } from '../client/native.ts'
import { persist } from '../client/persist.ts'
import { downloadFile, safeName } from '../download/download-file.ts'
import { isThere } from '../download/partial.ts'
import { downloadInto } from '../download/to-stream.ts'
import { EXIT, Failure } from '../failure.ts'
import type { Terminal } from '../terminal/output.ts'
import { plain } from '../terminal/words.ts'
import { openSession, type ServerOptions } from './client.ts'

export interface DownloadOptions extends ServerOptions {
  output?: string
  parallel: number
}

const STDOUT = '-'

export async function download(terminal: Terminal, id: string, options: DownloadOptions): Promise<number> {
  const session = openSession(terminal, options, options.parallel)
  const { connection, persistence, progress, patiently } = session
  try {
    const upload = await persist(patiently, () => nativeApi(connection.send).show(id))
    const { file_size: size } = upload
    if (upload.status !== 'COMPLETED' || size === null)
      throw new Failure(`The upload is ${upload.status}: only a COMPLETED one can be downloaded`)
    const file = options.output ?? (await newName(upload))
    const bar = progress.start(plain(upload.file_name), size)
    const patient = {
      ...persistence,
      onWait: (error: Error, waitMs: number) =>
        bar.note(`${error.message}; trying again in ${(waitMs / 1000).toFixed(1)} s`),
    }
    const { send } = connection
    try {
      if (options.output === STDOUT) {
        await downloadInto({ send, upload, size, output: terminal.stdout, persistence: patient, bar })
        return EXIT.done
      }
      const { parallel } = options
      const got = await downloadFile({ send, upload, size, file, parallel, persistence: patient, bar })
      session.tell({ upload_id: id, file, size, sha256: got.sha256, resumed_at: got.resumedAt }, file)
      return EXIT.done
    } finally {
      bar.end()
    }
  } finally {
    session.close()
  }
}

/** Whoever uploaded the file has chosen its name, and not which file here is to be replaced. */
async function newName(upload: Shown): Promise<string> {
  const name = safeName(upload)
  if (await isThere(name)) throw new Failure(`${plain(name)} is there already: say where to with --output`)
  return name
}
