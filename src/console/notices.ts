import { byId } from './dom.ts'

const TOAST_MS = 5_000

/** What the page says in passing. */
export interface Notices {
  /** seen and read out */
  show(words: string): void
  /** read out alone: it can be seen elsewhere */
  announce(words: string): void
}

export function createNotices(): Notices {
  const toast = byId('toast', HTMLDivElement)
  const announcer = byId('announcer', HTMLDivElement)
  let timer = 0
  return {
    show(words) {
      toast.textContent = words
      clearTimeout(timer)
      timer = window.setTimeout(() => (toast.textContent = ''), TOAST_MS)
    },
    announce(words) {
      announcer.textContent = words
    },
  }
}

/** @returns whether the person agreed; the focus comes back to where it was */
export function ask(question: { title: string; text: string; yes: string; no: string }): Promise<boolean> {
  const dialog = byId('confirm', HTMLDialogElement)
  byId('confirm-title', HTMLHeadingElement).textContent = question.title
  byId('confirm-text', HTMLParagraphElement).textContent = question.text
  byId('confirm-yes', HTMLButtonElement).textContent = question.yes
  byId('confirm-no', HTMLButtonElement).textContent = question.no
  dialog.returnValue = 'no'
  dialog.showModal()
  return new Promise((resolve) =>
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true }),
  )
}

/** Puts a link where it can be copied by hand: the clipboard is not open to every page. */
export function showLink(url: string, words: string): void {
  const dialog = byId('link', HTMLDialogElement)
  const field = byId('link-url', HTMLInputElement)
  byId('link-text', HTMLParagraphElement).textContent = words
  field.value = url
  dialog.showModal()
  field.select()
}
