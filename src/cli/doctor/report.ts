import { EXIT } from '../failure.ts'
import type { Paint, Terminal } from '../terminal/output.ts'
import { painter } from '../terminal/output.ts'
import { plain } from '../terminal/words.ts'
import type { Finding } from './finding.ts'

const NAME_WIDTH = 18
const STYLES = { ok: 'green', warning: 'yellow', failed: 'red', skipped: 'dim' } as const

/** Tells each finding as soon as it is there, and how many of which there were. @returns the exit code */
export async function report(
  terminal: Terminal,
  findings: AsyncIterable<Finding>,
  json: boolean,
): Promise<number> {
  const paint = painter(terminal)
  const counts = { ok: 0, warning: 0, failed: 0, skipped: 0 }
  for await (const finding of findings) {
    counts[finding.status] += 1
    terminal.stdout.write(`${json ? JSON.stringify(finding) : lineOf(finding, paint)}\n`)
  }
  if (!json)
    terminal.stdout.write(
      `\n${counts.ok} ok, ${counts.warning} warnings, ${counts.failed} failed, ${counts.skipped} skipped\n`,
    )
  return counts.failed > 0 ? EXIT.failed : EXIT.done
}

/** What is wrong brings its remedy on a line of its own. */
export function lineOf({ check, status, found, remedy }: Finding, paint: Paint): string {
  const line = `${paint(STYLES[status], status.padEnd(7))}  ${check.padEnd(NAME_WIDTH)}  ${plain(found)}`
  return remedy === null ? line : `${line}\n${' '.repeat(NAME_WIDTH + 11)}→ ${remedy}`
}
