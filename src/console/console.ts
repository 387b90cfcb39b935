import { createApi } from './api.ts'
import { openDesk, type Desk } from './desk.ts'
import { byId } from './dom.ts'
import { ask, createNotices } from './notices.ts'
import { openSession } from './session.ts'
import { askForKey, enter } from './sign-in.ts'
import { useTheme, type Theme } from './theme.ts'

const LEAVE_UNFINISHED = {
  title: 'Sign out?',
  text: 'Files are being sent. Those that are unfinished will be given up.',
  yes: 'Sign out',
  no: 'Stay',
}

const session = openSession(sessionStorage)
const notices = createNotices()
const signOut = byId('sign-out', HTMLButtonElement)
let desk: Desk | null = null
let theme: Theme = 'system'

const api = createApi(session.credential, () => {
  // A key that was right is not any more, or a token has expired. What is unfinished goes on after the next.
  if (desk) leave()
})

useTheme(byId('theme', HTMLSelectElement), (chosen) => {
  theme = chosen
  desk?.setTheme(theme)
})

/** With everything that the page knew of its user. */
function leave(): void {
  session.signOut()
  location.reload()
}

/** Asks for a key only where the server does. */
async function open(): Promise<void> {
  const limits = (await enter(api)) ?? (await askForKey(api, session))
  signOut.hidden = session.credential() === null
  signOut.title = `Signed in as ${limits.user_id}`
  desk = openDesk(api, limits, notices)
  desk.setTheme(theme)
}

signOut.addEventListener('click', () => {
  void (async () => {
    if (desk?.isBusy() && !(await ask(LEAVE_UNFINISHED))) return
    desk?.cancel()
    leave()
  })()
})
open().catch((error: unknown) =>
  notices.show(error instanceof Error ? error.message : 'The server does not answer.'),
)
