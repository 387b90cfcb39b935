import { createHash, timingSafeEqual } from 'node:crypto'

export interface KeyHolder {
  userId: string
  /** which key it was, for counting; not the key */
  keyName: string
}

/**
 * Finds the user of an API key. Keys are compared by hash, in constant time and all of them, so that
 * neither the time nor the answer tells anything about a key.
 */
export function createKeyring(apiKeys: ReadonlyMap<string, string>): (key: string) => KeyHolder | null {
  const known = [...apiKeys].map(([key, userId], at) => ({
    hash: digest(key),
    holder: { userId, keyName: `key ${at}` },
  }))
  return (key) => {
    const given = digest(key)
    let found: KeyHolder | null = null
    for (const { hash, holder } of known) if (timingSafeEqual(hash, given)) found = holder
    return found
  }
}

const digest = (key: string) => createHash('sha256').update(key).digest()
