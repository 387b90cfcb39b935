import { readdirSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { useFolder } from '../support/folder.ts'
import { useServer } from '../support/server.ts'
import { fencesOf, ROOT, walk } from '../support/walkthrough.ts'

const DOCS = path.join(ROOT, 'docs')

/** The sections of each page. What stands above the first of them, such as a URL and a key, goes before each. */
const sections = readdirSync(DOCS)
  .filter((page) => page.endsWith('.md'))
  .flatMap((page) => {
    const [above = '', ...rest] = readFileSync(path.join(DOCS, page), 'utf8').split(/^(?=## )/m)
    return rest.map((section) => ({
      page,
      heading: section.split('\n', 1).join().replace('## ', ''),
      above: fencesOf(above),
      fences: fencesOf(section),
    }))
  })

const isRun = ({ fences }: (typeof sections)[number]) =>
  fences.some(({ language, notRun }) => language === 'sh' && notRun === null)

for (const { page, heading, fences } of sections)
  for (const { language, notRun } of fences)
    if (language === 'sh' && notRun !== null) console.log(`docs/${page}, ${heading}: not run, ${notRun}`)

test.each(sections.filter(isRun).map((section) => [section.page, section.heading, section] as const))(
  'the commands of docs/%s, "%s", work as written and print what it says',
  async (_page, _heading, { above, fences }) => {
    const server = await useServer()
    await walk([...above, ...fences], server.url, await useFolder())
  },
)

test('every link from a page to a file of the project leads to one', () => {
  const broken = readdirSync(DOCS).flatMap((page) => {
    const text = readFileSync(path.join(DOCS, page), 'utf8')
    return [...text.matchAll(/\]\((?!https?:|#)([^)#]+)/g)]
      .map(([, target = '']) => target)
      .filter((target) => {
        try {
          readFileSync(path.join(DOCS, target))
          return false
        } catch {
          return true
        }
      })
      .map((target) => `${page}: ${target}`)
  })
  expect(broken).toEqual([])
})
