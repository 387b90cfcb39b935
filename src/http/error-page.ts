const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escape = (text: string): string => text.replace(/[&<>"']/g, (one) => ENTITIES[one] ?? '')

/** What went wrong, for a person with a browser; it loads nothing. The id is what the operator finds it by. */
export const errorPage = (words: string, requestId: string): string => `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>This file can’t be downloaded</title>
    <link rel="icon" href="data:,">
  </head>
  <body>
    <h1>This file can’t be downloaded</h1>
    <p>${escape(words)}</p>
    <p>If that stays so, ask whoever sent you the link for a new one.</p>
    <p><small>Request: ${escape(requestId)}</small></p>
  </body>
</html>
`
