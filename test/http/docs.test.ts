import { existsSync, readdirSync, readFileSync } from 'node:fs'
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

/** As GitHub makes them of headings. */
const anchorsOf = (text: string): string[] =>
  [...text.replace(/^```.*?^```$/gms, '').matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  )

/** Whether a link that stands in `from` leads to something of the project. */
function leads(from: string, target: string): boolean {
  const [file = '', anchor] = target.split('#')
  const to = file === '' ? from : path.join(path.dirname(from), file)
  if (!existsSync(to)) return false
  return anchor === undefined || anchorsOf(readFileSync(to, 'utf8')).includes(anchor)
}

const markdownIn = (folder: string): string[] =>
  readdirSync(folder)
    .filter((name) => name.endsWith('.md'))
    .map((name) => path.join(folder, name))

test('every link from a page to a file or a heading of the project leads to one', () => {
  const broken = [ROOT, DOCS, path.join(ROOT, 'benchmarks')].flatMap(markdownIn).flatMap((page) => {
    const links = [...readFileSync(page, 'utf8').matchAll(/\]\((?!https?:)([^)]+)\)/g)]
    return links
      .map(([, target = '']) => target)
      .filter((target) => !leads(page, target))
      .map((target) => `${path.relative(ROOT, page)}: ${target}`)
  })
  expect(broken).toEqual([])
})

test.each([
  ['docs/README.md', ''],
  ['README.md', 'docs/'],
])('%s names every page of docs/', (index, folder) => {
  const text = readFileSync(path.join(ROOT, index), 'utf8')
  const pages = readdirSync(DOCS).filter((page) => page !== path.relative(DOCS, path.join(ROOT, index)))
  expect(pages.filter((page) => !text.includes(`](${folder}${page}`))).toEqual([])
})
