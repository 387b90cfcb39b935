import { ApiError, type Api } from './api.ts'
import { formatWhen } from './format.ts'
import { ask, showLink, type Notices } from './notices.ts'
import type { Upload } from './types.ts'

const DOWNLOAD_SECONDS = 60

export interface Actions {
  download(upload: Upload): Promise<void>
  copyLink(upload: Upload): Promise<void>
  /** @returns whether it is gone */
  remove(upload: Upload): Promise<boolean>
  /** false once the server has turned out to give no links */
  givesLinks(): boolean
}

interface Link {
  url: string
  expires_at: string
}

/** What can be done with an upload in the list. A failure is shown, and thrown to nobody. */
export function createActions(api: Api, notices: Notices, onNoLinks: () => void): Actions {
  let linksWork = true

  /** @returns null where the server gives no links */
  const linkTo = async (upload: Upload, body: object): Promise<Link | null> => {
    if (!linksWork) return null
    try {
      const answer = await api.send('POST', `v1/uploads/${upload.upload_id}/links`, { body })
      return (await answer.json()) as Link
    } catch (error) {
      if (!(error instanceof ApiError) || (error.status !== 404 && error.status !== 405)) throw error
      // The upload's own 404 says nothing of links.
      await api.send('GET', `v1/uploads/${upload.upload_id}`)
      linksWork = false
      onNoLinks()
      return null
    }
  }
  const orShow = async <T>(work: () => Promise<T>, otherwise: T): Promise<T> => {
    try {
      return await work()
    } catch (error) {
      notices.show(error instanceof Error ? error.message : 'That did not work.')
      return otherwise
    }
  }

  return {
    givesLinks: () => linksWork,
    download: (upload) =>
      orShow(async () => {
        const wanted = { expires_in: DOWNLOAD_SECONDS, disposition: 'attachment' }
        const link = await linkTo(upload, wanted)
        if (link) return save(new URL(link.url, document.baseURI).href, upload.file_name)
        // A link is the browser's own download. Without one the file comes by way of the page, with the key.
        notices.show(`Downloading ${upload.file_name} …`)
        const answer = await api.send('GET', `v1/uploads/${upload.upload_id}/download`)
        const url = URL.createObjectURL(await answer.blob())
        save(url, upload.file_name)
        setTimeout(() => URL.revokeObjectURL(url), 60_000)
      }, undefined),
    copyLink: (upload) =>
      orShow(async () => {
        const link = await linkTo(upload, { disposition: 'inline' })
        if (!link) return notices.show('This server gives no links.')
        const url = new URL(link.url, document.baseURI).href
        const words = `Whoever has it can download the file. It ends ${formatWhen(new Date(link.expires_at), new Date())}.`
        try {
          await navigator.clipboard.writeText(url)
          notices.show(`Link copied. ${words}`)
        } catch {
          showLink(url, words)
        }
      }, undefined),
    remove: async (upload) => {
      const question = { title: 'Delete this upload?', text: upload.file_name, yes: 'Delete', no: 'Keep it' }
      if (!(await ask(question))) return false
      return orShow(async () => {
        await api.send('DELETE', `v1/uploads/${upload.upload_id}`)
        notices.show(`${upload.file_name} was deleted.`)
        return true
      }, false)
    },
  }
}

function save(url: string, name: string): void {
  const anchor = document.createElement('a')
  anchor.href = url
  anchor.download = name
  document.body.append(anchor)
  anchor.click()
  anchor.remove()
}
