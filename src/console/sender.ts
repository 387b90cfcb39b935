import Uppy, { type Body, type Meta } from '@uppy/core'
import Dashboard from '@uppy/dashboard'
import GoldenRetriever from '@uppy/golden-retriever'
import Tus from '@uppy/tus'
import type { Api } from './api.ts'
import { ChunksPlugin } from './chunks-plugin.ts'
import type { Theme } from './theme.ts'
import type { Limits } from './types.ts'

export type Method = 'tus' | 'chunks'

export interface Sender {
  setMethod(method: Method): void
  setTheme(theme: Theme): void
  /** whether a file is on its way: the method can't be changed then */
  isBusy(): boolean
  /** Gives up what is unfinished, here and at the server, and forgets it. */
  cancel(): void
}

const METHOD_KEY = 'upload-console.method'
/** A browser has six connections to a server, and the page needs two. */
const STREAMS = 4
/** Up to this size a copy of a chosen file outlives a reload; a larger one is chosen again, and goes on. */
const MAX_COPY_BYTES = 100 * 1024 * 1024
/** The plugin takes these, though its types don't say so. */
const COPIES: object = { maxFileSize: MAX_COPY_BYTES, maxTotalSize: 3 * MAX_COPY_BYTES }
const RETRY_DELAYS_MS = [0, 500, 1_000, 3_000, 5_000, 10_000, 15_000, 15_000, 30_000, 30_000]

export const methodOf = (storage: Storage): Method =>
  storage.getItem(METHOD_KEY) === 'chunks' ? 'chunks' : 'tus'

/** Uppy's Dashboard, with either way to this server. */
export function createSender(api: Api, limits: Limits, onBusy: (busy: boolean) => void): Sender {
  const uppy = new Uppy<Meta, Body>({
    // Somebody else's files are not restored to who signs in next.
    id: `console-${limits.user_id}`,
    restrictions: { maxFileSize: limits.max_upload_bytes },
  })
    .use(Dashboard, {
      inline: true,
      target: '#dashboard',
      width: '100%',
      height: 340,
      fileManagerSelectionType: 'both',
      hideProgressDetails: false,
      proudlyDisplayPoweredByUppy: false,
      singleFileFullScreen: false,
      note: null,
      theme: 'auto',
    })
    .use(GoldenRetriever, { indexedDB: COPIES })

  const use = (method: Method) => {
    if (method === 'chunks') uppy.use(ChunksPlugin, { api, storage: localStorage })
    else
      uppy.use(Tus, {
        endpoint: api.url('files'),
        headers: () => api.headers(),
        retryDelays: RETRY_DELAYS_MS,
        limit: STREAMS,
        removeFingerprintOnSuccess: true,
        allowedMetaFields: ['name', 'type', 'relativePath'],
      })
  }
  let method = methodOf(localStorage)
  use(method)
  const isBusy = () =>
    uppy.getFiles().some(({ progress }) => progress.uploadStarted && !progress.uploadComplete)
  uppy.on('state-update', () => onBusy(isBusy()))

  return {
    isBusy,
    setMethod(wanted) {
      localStorage.setItem(METHOD_KEY, wanted)
      const plugin = uppy.getPlugin(method === 'tus' ? 'Tus' : 'Chunks')
      if (wanted === method) return
      if (plugin) uppy.removePlugin(plugin)
      method = wanted
      use(method)
    },
    setTheme(theme) {
      uppy.getPlugin<Dashboard<Meta, Body>>('Dashboard')?.setOptions({
        theme: theme === 'system' ? 'auto' : theme,
      })
    },
    cancel: () => uppy.cancelAll(),
  }
}
