import { BasePlugin, type Body, type Meta, type PluginOpts, type Uppy, type UppyFile } from '@uppy/core'
import type { Api } from './api.ts'
import { sendChunks } from './send-chunks.ts'
import { createTurns } from './turns.ts'

type File = UppyFile<Meta, Body>

interface Options extends PluginOpts {
  api: Api
  /** remembers which upload a file has begun, also when the page is loaded anew */
  storage: Storage
}

/** A file waits for its turn while another one has four connections: browsers open six to a server. */
const FILES_AT_A_TIME = 1
/** Why a try was broken off by the person. */
const PAUSED = new Error('paused')
const REMOVED = new Error('removed')

/** Uppy's uploader for the server's numbered chunks; it can be paused, resumed and tried again. */
export class ChunksPlugin extends BasePlugin<Options, Meta, Body> {
  readonly #turn = createTurns(FILES_AT_A_TIME)

  constructor(uppy: Uppy<Meta, Body>, options: Options) {
    super(uppy, options)
    this.id = 'Chunks'
    this.type = 'uploader'
  }

  override install(): void {
    this.#setResumable(true)
    this.uppy.addUploader(this.#upload)
  }

  override uninstall(): void {
    this.#setResumable(false)
    this.uppy.removeUploader(this.#upload)
  }

  #setResumable(resumableUploads: boolean): void {
    const { capabilities } = this.uppy.getState()
    this.uppy.setState({ capabilities: { ...capabilities, resumableUploads } })
  }

  readonly #upload = async (ids: string[]): Promise<void> => {
    const files = ids.map((id) => this.uppy.getFile(id))
    const wanted = files.filter((file) => !file.error && !file.progress.uploadComplete)
    this.uppy.emit(
      'upload-start',
      wanted.filter((file) => !file.progress.uploadStarted || !file.isRestored),
    )
    await Promise.all(wanted.map((file) => this.#send(file)))
  }

  async #send(file: File): Promise<void> {
    const control = this.#controlOf(file)
    try {
      for (;;) {
        const signal = await control.running()
        try {
          const uploadId = await this.#try(file, signal)
          const uploadURL = this.opts.api.url(`v1/uploads/${uploadId}`)
          this.opts.storage.removeItem(keyOf(file))
          this.uppy.emit('upload-success', this.uppy.getFile(file.id), { status: 200, uploadURL })
          return
        } catch (error) {
          if (!signal.aborted || signal.reason !== PAUSED) throw error
        }
      }
    } catch (error) {
      if (error === REMOVED) await this.#forget(file)
      else this.uppy.emit('upload-error', this.uppy.getFile(file.id), toError(error))
    } finally {
      control.release()
    }
  }

  async #try(file: File, signal: AbortSignal): Promise<string> {
    const { api, storage } = this.opts
    const leave = await this.#turn(signal)
    try {
      const { relativePath } = file.meta
      return await sendChunks(
        api,
        {
          name: file.name ?? 'file',
          type: file.type,
          blob: file.data as Blob,
          metadata: typeof relativePath === 'string' ? { relativePath } : {},
          uploadId: storage.getItem(keyOf(file)),
        },
        {
          signal,
          onUpload: (id) => storage.setItem(keyOf(file), id),
          onProgress: (bytesUploaded) => {
            const current = this.uppy.getFile(file.id)
            if (!current) return
            const uploadStarted = current.progress.uploadStarted ?? Date.now()
            this.uppy.emit('upload-progress', current, {
              uploadStarted,
              bytesUploaded,
              bytesTotal: file.size,
            })
          },
        },
      )
    } finally {
      leave()
    }
  }

  /** Who takes a file away does not want its bytes on the server, either. */
  async #forget(file: File): Promise<void> {
    const id = this.opts.storage.getItem(keyOf(file))
    this.opts.storage.removeItem(keyOf(file))
    if (id !== null) await this.opts.api.send('DELETE', `v1/uploads/${id}`).catch(() => {})
  }

  /** What the buttons of Uppy do to a file. */
  #controlOf(file: File) {
    let attempt = new AbortController()
    let resume = () => {}
    let resumed: Promise<void> | null = null
    let isRemoved = false
    const pause = () => {
      if (resumed) return
      resumed = new Promise((resolve) => (resume = resolve))
      attempt.abort(PAUSED)
    }
    const goOn = () => {
      resumed = null
      resume()
    }
    const remove = () => {
      isRemoved = true
      attempt.abort(REMOVED)
      goOn()
    }
    const onPause = (changed: File | undefined, isPaused: boolean) => {
      if (changed?.id === file.id) (isPaused ? pause : goOn)()
    }
    const onRemoved = (removed: File) => {
      if (removed.id === file.id) remove()
    }
    this.uppy.on('upload-pause', onPause).on('pause-all', pause).on('resume-all', goOn)
    this.uppy.on('file-removed', onRemoved).on('cancel-all', remove)
    if (file.isPaused) pause()
    return {
      /** Waits while it is paused. @throws REMOVED */
      running: async (): Promise<AbortSignal> => {
        while (resumed) await resumed
        if (isRemoved) throw REMOVED
        attempt = new AbortController()
        return attempt.signal
      },
      release: () => {
        this.uppy.off('upload-pause', onPause).off('pause-all', pause).off('resume-all', goOn)
        this.uppy.off('file-removed', onRemoved).off('cancel-all', remove)
      },
    }
  }
}

const keyOf = (file: File): string => `upload-console.chunks.${file.id}`

const toError = (error: unknown): Error => (error instanceof Error ? error : new Error(String(error)))
