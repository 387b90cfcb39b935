import type { OutgoingHttpHeaders } from 'node:http'
import { create as contentDisposition } from 'content-disposition'

/** Longer names overrun what clients take for headers, once they are percent-encoded. */
const MAX_NAME_CHARACTERS = 200

/** Whatever was uploaded, it must not run as a page of our origin. */
export const contentHeaders = (
  type: string,
  fileName: string,
  asAttachment: boolean,
): OutgoingHttpHeaders => ({
  'Accept-Ranges': 'bytes',
  'Content-Disposition': disposition(type, fileName, asAttachment),
  'Content-Security-Policy': "sandbox; default-src 'none'",
  'X-Content-Type-Options': 'nosniff',
})

/** media-type of RFC 9110 §8.3.1, so written that no input makes it backtrack for long. */
const MEDIA_TYPE =
  /^[\w!#$%&'*+.^`|~-]+\/[\w!#$%&'*+.^`|~-]+(?:[\t ]*;(?:[\t ]*[\w!#$%&'*+.^`|~-]+=(?:[\w!#$%&'*+.^`|~-]+|"(?:[\t !\x23-\x5b\x5d-\x7e]|\\[\t -\x7e])*"))?)*$/

export const safeMediaType = (type: string | null): string =>
  type !== null && MEDIA_TYPE.test(type) ? type : 'application/octet-stream'

const INLINE = /^(?:(?:image|audio|video)\/[^;]+|text\/plain|application\/pdf)$/

/**
 * RFC 6266: a name in ASCII for everybody, and the real one in UTF-8 (RFC 8187) where they differ.
 * @param asAttachment whether it is one even where its type would let it be shown
 */
export function disposition(mediaType: string, fileName: string, asAttachment: boolean): string {
  const essence = mediaType.split(';', 1).join().trim().toLowerCase()
  const name = safeFileName(fileName)
  return contentDisposition(name, {
    type: asAttachment || !INLINE.test(essence) || /svg|xml|html/.test(essence) ? 'attachment' : 'inline',
    // RFC 6266 appendix D: clients disagree on escapes and on what looks like percent-encoding.
    fallback: name.replace(/[^\x20-\x7e]|["%\\]/gu, '_'),
  })
}

function safeFileName(fileName: string): string {
  // Lone surrogates can't be encoded: Buffer makes them U+FFFD.
  const segment = Buffer.from(fileName).toString().split(/[\\/]/).at(-1) ?? ''
  // Control characters break headers, bidi ones disguise an extension.
  const name = segment.replace(/[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu, '_').trim()
  if (/^\.*$/.test(name)) return 'download'
  const extension = /\.[^.]{1,16}$/.exec(name)?.[0] ?? ''
  const stem = Array.from(name.slice(0, name.length - extension.length))
  return stem.slice(0, MAX_NAME_CHARACTERS).join('') + extension
}
