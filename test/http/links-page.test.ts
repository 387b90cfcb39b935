import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { useFolder } from '../support/folder.ts'
import { ALICE, useServer } from '../support/server.ts'

const PAGE = readFileSync(path.join(import.meta.dirname, '..', '..', 'docs', 'links.md'), 'utf8')

/** What is another one each time, as one. */
const comparable = (output: string): string[] =>
  output
    .replace(/(link1|upload1)\.[\w-]+\.[\w-]+\.(\d+)\.(\w+\.)?[\w-]{43}/g, '$1')
    .replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .trim()
    .split('\n')

test('the commands of docs/links.md work as written and print what it says', async () => {
  const server = await useServer()
  const here = (text: string) =>
    text.replaceAll('http://127.0.0.1:8000', server.url).replaceAll('dev-key', ALICE)
  const fences = (language: string) =>
    [...PAGE.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\`$`, 'gms'))].map(([, text = '']) =>
      here(text),
    )

  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', fences('sh').join('')], {
    cwd: await useFolder(),
  })
  expect(fences('sh').length).toBeGreaterThan(0)
  expect(comparable(stdout)).toEqual(fences('text').flatMap(comparable))
})
