import { homedir } from 'node:os'
import { nativeApi } from '../client/native.ts'
import { tusApi, tusPath } from '../client/tus.ts'
import { EXIT, Failure } from '../failure.ts'
import type { Terminal } from '../terminal/output.ts'
import { createSlots, eachOf } from '../upload/slots.ts'
import { sourceOf } from '../upload/source.ts'
import { openStates, stateFolder, type Dialect } from '../upload/state.ts'
import { STDIN_PIECE_BYTES, uploadInput } from '../upload/stdin.ts'
import { uploadFile } from '../upload/upload-file.ts'
import { collector, openSession, type ServerOptions, type Session } from './client.ts'

export interface UploadOptions extends ServerOptions {
  dialect?: Dialect
  parallel: number
  resume?: boolean
  checksum?: boolean
  chunkSize?: number
  type?: string
  name?: string
}

const STDIN = '-'

export async function upload(terminal: Terminal, files: string[], options: UploadOptions): Promise<number> {
  assertFit(files, options)
  const session = openSession(terminal, options, options.parallel)
  const results = collector(terminal, session, options.json ?? false)
  const { connection, persistence, progress } = session
  const deps = {
    native: nativeApi(connection.send),
    tus: tusApi(connection.send),
    states: openStates(stateFolder(terminal.env, homedir()), connection.url),
    slots: createSlots(options.parallel),
    persistence,
  }
  const wanted = {
    dialect: options.dialect ?? 'native',
    parallel: options.parallel,
    resume: options.resume ?? false,
    checksum: options.checksum ?? false,
    chunkBytes: options.chunkSize ?? null,
    contentType: options.type ?? null,
    name: options.name ?? null,
  }
  try {
    await eachOf(files, options.parallel, async (file) => {
      try {
        if (file === STDIN) return await pipe(terminal, session, options)
        const source = await sourceOf(file)
        const bar = progress.start(source.name, source.size)
        try {
          const sent = await uploadFile(deps, source, wanted, bar)
          tellUploaded(session, { file, size: source.size, ...sent })
        } finally {
          bar.end()
        }
      } catch (error) {
        terminal.signal.throwIfAborted()
        results.failed(file, error)
      }
    })
  } catch (error) {
    if (terminal.signal.aborted)
      terminal.stderr.write(
        'What is there stays there for a while: the same command with --resume goes on.\n',
      )
    throw error
  } finally {
    session.close()
  }
  return results.exitCode()
}

/** @throws {Failure} of usage */
function assertFit(files: string[], { dialect, name, resume }: UploadOptions): void {
  const usage = (message: string) => new Failure(message, { exitCode: EXIT.usage })
  if (name !== undefined && files.length > 1) throw usage('--name goes with one file only')
  if (!files.includes(STDIN)) return
  if (files.length > 1) throw usage('What comes by a pipe (-) is uploaded alone')
  if (dialect === 'native') throw usage('What comes by a pipe (-) has no length yet: it goes by tus only')
  if (resume) throw usage('What comes by a pipe (-) can not be resumed: it comes only once')
}

async function pipe(terminal: Terminal, session: Session, options: UploadOptions): Promise<void> {
  const filename = options.name ?? 'stdin'
  const bar = session.progress.start(filename, null)
  try {
    const { id, size, sha256 } = await uploadInput({
      tus: tusApi(session.connection.send),
      input: terminal.stdin,
      metadata: { filename, ...(options.type !== undefined && { filetype: options.type }) },
      pieceBytes: options.chunkSize ?? STDIN_PIECE_BYTES,
      persistence: session.patiently,
      bar,
    })
    tellUploaded(session, { file: STDIN, id, size, dialect: 'tus', sha256, resumedAt: 0 })
  } finally {
    bar.end()
  }
}

interface Told {
  file: string
  id: string
  size: number
  dialect: Dialect
  sha256: string | null
  resumedAt: number
}

function tellUploaded({ connection, tell }: Session, told: Told): void {
  const { id } = told
  const url = `${connection.url}${told.dialect === 'tus' ? tusPath(id) : `/v1/uploads/${id}/download`}`
  tell(
    {
      file: told.file,
      upload_id: id,
      download_url: url,
      size: told.size,
      dialect: told.dialect,
      sha256: told.sha256,
      resumed_at: told.resumedAt,
    },
    `${id} ${url}`,
  )
}
