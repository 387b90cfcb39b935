import { ApiError, type Api } from './api.ts'
import { byId } from './dom.ts'
import type { Session } from './session.ts'
import type { Limits } from './types.ts'

/** @returns what the server holds this user to; null when it wants a key, or another one */
export async function enter(api: Api): Promise<Limits | null> {
  try {
    return (await (await api.send('GET', 'v1/limits')).json()) as Limits
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return null
    throw error
  }
}

/** Asks for a key until one is right. */
export function askForKey(api: Api, session: Session): Promise<Limits> {
  const form = byId('sign-in', HTMLFormElement)
  const field = byId('key', HTMLInputElement)
  const problem = byId('sign-in-problem', HTMLParagraphElement)
  form.hidden = false
  field.value = ''
  field.focus()
  return new Promise((resolve) => {
    const refuse = (words: string) => {
      session.signOut()
      problem.textContent = words
      field.setAttribute('aria-invalid', 'true')
      field.select()
      field.focus()
    }
    form.addEventListener('submit', (event) => {
      event.preventDefault()
      problem.textContent = ''
      field.removeAttribute('aria-invalid')
      session.signIn(field.value.trim())
      enter(api).then(
        (limits) => {
          if (!limits) return refuse('The server does not know this key.')
          form.hidden = true
          field.value = ''
          resolve(limits)
        },
        (error: unknown) => refuse(error instanceof Error ? error.message : 'That did not work.'),
      )
    })
  })
}
