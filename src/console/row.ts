import { describeMap, drawMap } from './chunk-map.ts'
import { make, setText } from './dom.ts'
import { formatBytes, formatPercent, formatWhen } from './format.ts'
import type { Actions } from './actions.ts'
import type { Upload } from './types.ts'

export interface Row {
  element: HTMLLIElement
  update(upload: Upload): void
  /** Draws the map again: its width or its colours are others. */
  redraw(): void
}

const WORDS: Readonly<Record<Upload['status'], string>> = {
  INITIATED: 'Waiting',
  IN_PROGRESS: 'Receiving',
  COMPLETED: 'Complete',
  FAILED: 'Failed',
  ABORTED: 'Expired',
}

/** One upload in the list. It is changed in place, so that the focus stays where it is. */
export function createRow(first: Upload, actions: Actions, onRemoved: (id: string) => void): Row {
  let upload = first
  const folder = make('span', 'folder')
  const name = make('span', 'name')
  const state = make('span', 'state')
  const facts = make('p', 'facts')
  const map = make('canvas', 'map')
  map.setAttribute('role', 'img')
  const percent = make('span', 'percent')
  const progress = make('div', 'progress', map, percent)
  const download = button('Download', () => actions.download(upload))
  const link = button('Copy link', () => actions.copyLink(upload))
  const remove = button('Delete', async () => {
    if (await actions.remove(upload)) onRemoved(upload.upload_id)
  })
  remove.classList.add('dangerous')
  const title = make('h3', '', folder, name)
  const element = make(
    'li',
    'row',
    make('div', 'row-head', title, state),
    progress,
    make('div', 'row-foot', facts, make('div', 'row-actions', download, link, remove)),
  )

  const row: Row = {
    element,
    redraw: () => drawMap(map, upload),
    update(now) {
      upload = now
      const isComplete = now.status === 'COMPLETED'
      const isOpen = now.status === 'INITIATED' || now.status === 'IN_PROGRESS'
      element.dataset['id'] = now.upload_id
      element.dataset['status'] = now.status
      element.dataset['live'] = String((now.bytes_per_second ?? 0) > 0)
      setText(folder, folderOf(now))
      setText(name, now.file_name)
      setText(state, stateOf(now))
      setText(facts, factsOf(now))
      progress.hidden = !isOpen || now.received_chunks === undefined
      setText(percent, now.file_size === null ? '' : formatPercent(receivedPart(now)))
      map.setAttribute('aria-label', describeMap(now))
      for (const one of [download, link]) one.hidden = !isComplete
      if (!actions.givesLinks()) link.hidden = true
      for (const one of [download, link, remove])
        one.setAttribute('aria-label', `${one.textContent}: ${now.file_name}`)
      if (!progress.hidden) requestAnimationFrame(row.redraw)
    },
  }
  row.update(first)
  return row
}

/** One that gets no bytes may be paused, or given up: nobody here knows. */
const stateOf = ({ status, bytes_per_second: speed = 0 }: Upload): string =>
  status === 'IN_PROGRESS' && speed === 0 ? 'Unfinished' : WORDS[status]

function button(words: string, does: () => Promise<void>): HTMLButtonElement {
  const element = make('button', 'quiet', words)
  element.type = 'button'
  // Not disabled meanwhile: that would take the focus away.
  let isBusy = false
  element.addEventListener('click', () => {
    if (isBusy) return
    isBusy = true
    void does().finally(() => (isBusy = false))
  })
  return element
}

const receivedPart = (upload: Upload): number =>
  upload.file_size ? (upload.received_bytes ?? upload.offset) / upload.file_size : 1

/** Of a file that was sent with its folder. */
function folderOf({ metadata, file_name: name }: Upload): string {
  const path = metadata['relativePath']
  return typeof path === 'string' && path.endsWith(`/${name}`) ? path.slice(0, -name.length) : ''
}

function factsOf(upload: Upload): string {
  const { status, file_size: size, bytes_per_second: speed = 0, expires_at: expiresAt } = upload
  const received = upload.received_bytes ?? upload.offset
  const isOpen = status === 'INITIATED' || status === 'IN_PROGRESS'
  const now = new Date()
  const facts = [
    isOpen
      ? `${formatBytes(received)} of ${size === null ? '?' : formatBytes(size)}`
      : formatBytes(size ?? received),
    isOpen && speed > 0 ? `${formatBytes(speed)}/s` : '',
    isOpen && speed > 0 && size !== null ? leftOf((size - received) / speed) : '',
    isOpen && speed === 0
      ? `${received > 0 ? 'last byte' : 'created'} ${formatWhen(new Date(upload.updated_at), now)}`
      : '',
    isOpen && speed === 0 && expiresAt !== null ? `expires ${formatWhen(new Date(expiresAt), now)}` : '',
    isOpen ? '' : formatWhen(new Date(upload.updated_at), now),
  ]
  return facts.filter(Boolean).join(' · ')
}

function leftOf(seconds: number): string {
  if (seconds < 60) return 'under a minute left'
  const minutes = Math.round(seconds / 60)
  return minutes < 120 ? `${minutes} min left` : `${Math.round(minutes / 60)} h left`
}
