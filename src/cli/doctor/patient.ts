import type { Send } from '../client/connection.ts'
import type { NativeApi } from '../client/native.ts'
import type { TusApi } from '../client/tus.ts'

/** A deployment, as somebody outside reaches it. */
export interface Deployment {
  url: string
  send: Send
  /** the same without the key */
  sendWithoutKey: Send
  hasKey: boolean
  /** whose pages shall be let in; null when nobody asked */
  origin: string | null
  deep: boolean
}

export interface Patient extends Deployment {
  native: NativeApi
  tus: TusApi
  /** uploads that the checks made, to be deleted at their end */
  made: Set<string>
  /** what the first checks found, since later ones make no sense without */
  condition: { reached: boolean; known: boolean }
}

/** Bytes of one kind, made on the way. */
export const zeros = (length: number) => ({
  length,
  open: async function* () {
    const piece = Buffer.alloc(Math.min(length, 64 * 1024))
    for (let left = length; left > 0; left -= piece.length)
      yield piece.subarray(0, Math.min(left, piece.length))
  },
})
