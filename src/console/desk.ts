import { createActions } from './actions.ts'
import type { Api } from './api.ts'
import { byId } from './dom.ts'
import { createList } from './list.ts'
import { followUploads } from './live.ts'
import { describeLimits, showLoad } from './load.ts'
import type { Notices } from './notices.ts'
import { createSender, methodOf, type Method } from './sender.ts'
import type { Theme } from './theme.ts'
import type { Limits, Load, Upload } from './types.ts'
import { createUploads } from './uploads.ts'

export interface Desk {
  setTheme(theme: Theme): void
  /** whether something is being sent */
  isBusy(): boolean
  /** Gives up what is unfinished. */
  cancel(): void
}

/** The page of somebody who may come in: sending on one side, what was received on the other. */
export function openDesk(api: Api, limits: Limits, notices: Notices): Desk {
  const uploads = createUploads()
  const actions = createActions(api, notices, () => list.renew())
  const list = createList(uploads, actions, notices)
  const updateLoad = showLoad(byId('load', HTMLElement), limits)
  const connection = byId('connection', HTMLParagraphElement)
  byId('limits', HTMLParagraphElement).textContent = describeLimits(limits)
  byId('desk', HTMLDivElement).hidden = false

  const methods = byId('method', HTMLFieldSetElement)
  const sender = createSender(api, limits, (busy) => (methods.disabled = busy))
  for (const radio of methods.querySelectorAll('input')) {
    radio.checked = radio.value === methodOf(localStorage)
    radio.addEventListener('change', () => sender.setMethod(radio.value as Method))
  }

  followUploads(api, {
    opened() {
      connection.textContent = ''
      uploads.begin()
    },
    lost() {
      connection.textContent = 'No connection to the server. Trying again …'
    },
    event({ event, data }) {
      if (event === 'load') return updateLoad(data as Load)
      if (event === 'upload') uploads.put(data as Upload)
      if (event === 'removed') uploads.remove((data as Upload).upload_id)
      if (event === 'ready') {
        const { has_more: hasMore } = data as { has_more: boolean }
        uploads.end(hasMore)
        more.hidden = !hasMore
      }
      list.render()
    },
  })
  const more = byId('more', HTMLButtonElement)
  const older = olderPages(api)
  more.addEventListener('click', () => {
    older().then(
      ({ page, isLast }) => {
        page.forEach(uploads.putOlder)
        more.hidden = isLast
        list.render()
      },
      (error: unknown) => notices.show(error instanceof Error ? error.message : 'That did not work.'),
    )
  })

  return {
    setTheme(theme) {
      sender.setTheme(theme)
      list.redraw()
    },
    isBusy: sender.isBusy,
    cancel: sender.cancel,
  }
}

/** @returns what fetches the next page of the list each time */
function olderPages(api: Api): () => Promise<{ page: Upload[]; isLast: boolean }> {
  let cursor: string | null = null
  return async () => {
    const query = new URLSearchParams({ limit: '100', ...(cursor !== null && { cursor }) })
    const answer = await api.send('GET', `v1/uploads?${query}`)
    const body = (await answer.json()) as { uploads: Upload[]; next_cursor: string | null }
    cursor = body.next_cursor
    return { page: body.uploads, isLast: cursor === null }
  }
}
