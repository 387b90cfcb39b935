import { execFile } from 'node:child_process'
import { symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'
import { ALICE } from './server.ts'

export const ROOT = path.join(import.meta.dirname, '..', '..')

export interface Fence {
  language: string
  text: string
  /** why it can't be run here, as a comment right above it says: `<!-- not run: … -->` */
  notRun: string | null
  /** what the sentence above has it saved as */
  file: string | null
}

export const fencesOf = (text: string): Fence[] =>
  [...text.matchAll(/(?:<!-- not run: (.+?) -->\n+)?^```(\w+)\n(.*?)^```$/gms)].map(
    ({ 1: notRun, 2: language = '', 3: body = '', index }) => ({
      language,
      text: body,
      notRun: notRun ?? null,
      file:
        /Save this as `([\w.-]+)`/.exec(text.slice(0, index).trimEnd().split('\n\n').at(-1) ?? '')?.[1] ??
        null,
    }),
  )

/**
 * Runs the shell commands of a walkthrough in `folder`, one after the other in one shell, against the server
 * at `url`, and compares what each prints with the text that stands right behind it.
 */
export async function walk(fences: Fence[], url: string, folder: string): Promise<void> {
  const here = (text: string) => text.replaceAll('http://127.0.0.1:8000', url).replaceAll('dev-key', ALICE)
  await symlink(path.join(ROOT, 'node_modules'), path.join(folder, 'node_modules'))
  for (const { language, text, file } of fences)
    if (file !== null && language !== 'sh') await writeFile(path.join(folder, file), here(text))

  // What a step prints stands right behind it.
  const steps = fences.flatMap(({ language, text, notRun }, at) => {
    const next = fences[at + 1]
    if (language !== 'sh' || notRun !== null) return []
    return [{ text: here(text), told: next?.language === 'text' ? here(next.text) : '' }]
  })
  const script = steps.map(({ text }) => `${text}\nprintf '\\f'\n`).join('')
  const { stdout } = await promisify(execFile)('bash', ['-euo', 'pipefail', '-c', script], { cwd: folder })
  const printed = stdout.split('\f')

  expect(steps.length).toBeGreaterThan(0)
  for (const [step, { text, told }] of steps.entries())
    expect({ text, printed: comparable(printed[step] ?? '') }).toEqual({ text, printed: comparable(told) })
}

/** What differs from run to run becomes the same; so does the order of what runs in parallel. */
const comparable = (output: string): string[] =>
  output
    .replaceAll('\r', '')
    .replace(/(link1|upload1)\.[\w-]+\.[\w-]+\.\d+\.(\w+\.)?[\w-]{43}/g, 'SIGNED $1')
    .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, 'ID')
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, 'TIME')
    .replace(/\w{3}, \d\d \w{3} \d{4} [\d:]{8} GMT/g, 'DATE')
    .replace(/^[\w-]+(?=: )/gm, (header) => header.toLowerCase())
    .trim()
    .split('\n')
    .toSorted()
