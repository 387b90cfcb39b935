// Notes the path of every file of the server's own that the process loads, a line each, in FILES_LOADED.
import { register } from 'node:module'

const hooks = `
import { appendFileSync } from 'node:fs'
export async function load(url, context, next) {
  if (url.includes('/dist/')) appendFileSync(${JSON.stringify(process.env.FILES_LOADED)}, process.pid + ' ' + url + '\\n')
  return next(url, context)
}`
register(`data:text/javascript,${encodeURIComponent(hooks)}`)
