import type { Tally } from './tally.ts'

const WIDTH = 30

/** Shows how far it is: a bar that is redrawn on a terminal, else a line now and then. */
export function showProgress(
  tally: Tally,
  { files, fileSizeBytes }: { files: number; fileSizeBytes: number },
  out: NodeJS.WriteStream = process.stderr,
): { stop(): void } {
  const start = performance.now()
  const total = files * fileSizeBytes

  const draw = (): void => {
    const done = tally.fileTotalsMs.length + tally.failures.length
    const share = total > 0 ? tally.bytes / total : done / files
    const seconds = (performance.now() - start) / 1000
    const text = [
      `${Math.floor(share * 100)} %`,
      `${done}/${files} files`,
      `${(tally.bytes / 1e6 / seconds).toFixed(1)} MB/s`,
      ...(tally.retries > 0 ? [`${tally.retries} retries`] : []),
      ...(tally.throttled > 0 ? [`${tally.throttled} throttled`] : []),
      ...(tally.failures.length > 0 ? [`${tally.failures.length} failed`] : []),
    ].join('  ')
    if (out.isTTY) out.write(`\r[${'#'.repeat(Math.floor(share * WIDTH)).padEnd(WIDTH)}] ${text}\x1b[K`)
    else out.write(`${text}\n`)
  }

  const timer = setInterval(draw, out.isTTY ? 200 : 2000)
  return {
    stop: () => {
      clearInterval(timer)
      draw()
      if (out.isTTY) out.write('\n')
    },
  }
}
