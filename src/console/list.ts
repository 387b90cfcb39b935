import type { Actions } from './actions.ts'
import { byId } from './dom.ts'
import type { Notices } from './notices.ts'
import { createRow, type Row } from './row.ts'
import type { Upload } from './types.ts'
import type { Uploads } from './uploads.ts'

const RENEW_MS = 30_000

export interface List {
  /** Shows what the page knows now. */
  render(): void
  /** Writes every row again: times grow old, and buttons may go. */
  renew(): void
  /** Draws every map again. */
  redraw(): void
}

export function createList(uploads: Uploads, actions: Actions, notices: Notices): List {
  const list = byId('list', HTMLUListElement)
  const empty = byId('empty', HTMLDivElement)
  const rows = new Map<string, { row: Row; upload: Upload }>()

  const drop = (id: string) => {
    const gone = rows.get(id)
    if (!gone) return
    // Who deletes one by keyboard goes on with the next, and not from the top of the page.
    const neighbour = gone.row.element.nextElementSibling ?? gone.row.element.previousElementSibling
    const hadFocus = gone.row.element.contains(document.activeElement)
    gone.row.element.remove()
    rows.delete(id)
    if (hadFocus)
      (neighbour?.querySelector<HTMLElement>('button:not([hidden])') ?? byId('main', HTMLElement)).focus()
  }
  const onRemoved = (id: string) => {
    uploads.remove(id)
    shown.render()
  }
  const shown: List = {
    render() {
      const all = uploads.all()
      const ids = new Set(all.map(({ upload_id: id }) => id))
      for (const id of rows.keys()) if (!ids.has(id)) drop(id)
      all.forEach((upload, at) => {
        const known = rows.get(upload.upload_id)
        const row = known?.row ?? createRow(upload, actions, onRemoved)
        if (known && known.upload !== upload) {
          if (known.upload.status !== upload.status) tell(upload)
          row.update(upload)
        }
        rows.set(upload.upload_id, { row, upload })
        if (list.children[at] !== row.element) list.insertBefore(row.element, list.children[at] ?? null)
      })
      empty.hidden = all.length > 0
    },
    renew: () => rows.forEach(({ row, upload }) => row.update(upload)),
    redraw: () => rows.forEach(({ row }) => row.redraw()),
  }
  const tell = ({ status, file_name: name }: Upload) => {
    if (status === 'COMPLETED') notices.announce(`${name} is complete.`)
    if (status === 'FAILED') notices.announce(`${name} has failed.`)
  }
  setInterval(shown.renew, RENEW_MS)
  new ResizeObserver(() => shown.redraw()).observe(list)
  return shown
}
