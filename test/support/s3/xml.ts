/** The little XML that S3 speaks: documents out, and the few elements that it reads of a request. */
export type Xml = string | number | boolean | undefined | readonly Xml[] | { readonly [name: string]: Xml }

const HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'

/** A document of S3's namespace. An array repeats its element; undefined leaves it out. */
export const document = (name: string, content: Xml): string =>
  HEAD + element(name, content, ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"')

/** An error has no namespace. */
export const errorDocument = (content: Xml): string => HEAD + element('Error', content)

function element(name: string, content: Xml, attributes = ''): string {
  if (content === undefined) return ''
  if (Array.isArray(content)) return content.map((item: Xml) => element(name, item)).join('')
  const inner =
    typeof content === 'object'
      ? Object.entries(content)
          .map(([child, value]) => element(child, value))
          .join('')
      : escape(String(content))
  return `<${name}${attributes}>${inner}</${name}>`
}

const ESCAPES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  '\r': '&#13;',
}

const escape = (text: string) => text.replaceAll(/[&<>"\r]/g, (char) => ESCAPES[char] ?? char)

/** What is inside of each element of this name, still escaped. Elements of one name don't nest here. */
export const elements = (xml: string, name: string): string[] =>
  Array.from(
    xml.matchAll(new RegExp(`<${name}(?:\\s[^>]*)?>([\\s\\S]*?)</${name}>`, 'g')),
    (match) => match[1] ?? '',
  )

/** The text of the first element of this name. */
export function textOf(xml: string, name: string): string | undefined {
  const [first] = elements(xml, name)
  return first === undefined ? undefined : unescape(first)
}

const NAMED: Record<string, string> = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' }

const unescape = (text: string) =>
  text.replaceAll(/&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi, (whole, hex, decimal, name) => {
    if (hex) return String.fromCodePoint(Number.parseInt(hex, 16))
    if (decimal) return String.fromCodePoint(Number(decimal))
    return NAMED[name] ?? whole
  })
