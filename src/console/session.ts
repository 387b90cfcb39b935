const KEY = 'upload-console.key'

/** The key or token of this tab. It goes with the tab, and never into a cookie or a lasting store. */
export interface Session {
  credential(): string | null
  signIn(credential: string): void
  signOut(): void
}

export const openSession = (storage: Storage): Session => ({
  credential: () => storage.getItem(KEY),
  signIn: (credential) => storage.setItem(KEY, credential),
  signOut: () => storage.removeItem(KEY),
})
