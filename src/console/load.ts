import { make, setText } from './dom.ts'
import { formatBytes, formatDuration } from './format.ts'
import type { Limits, Load } from './types.ts'

/** Shows how much of what the process takes at a time is taken. @returns what updates it */
export function showLoad(list: HTMLElement, limits: Limits): (load: Load) => void {
  const gauges = [
    gauge('Transfers', ({ inflight_chunks: n }) => [n, limits.max_global_inflight_chunks]),
    gauge('Waiting', ({ task_queue_depth: n }) => [n, limits.task_queue_maxsize]),
    gauge('Writers', ({ worker_busy_count: n, worker_count: most }) => [n, most]),
  ]
  list.replaceChildren(...gauges.map(({ element }) => element))
  list.hidden = false
  const update = (load: Load) => gauges.forEach((each) => each.update(load))
  update(limits.load)
  return update
}

function gauge(name: string, read: (load: Load) => [now: number, most: number]) {
  const bar = make('i')
  const value = make('b')
  const limit = make('span', 'muted')
  const element = make('div', 'gauge', make('dt', '', name), make('dd', '', value, limit, bar))
  return {
    element,
    update(load: Load) {
      const [now, most] = read(load)
      setText(value, String(now))
      setText(limit, ` / ${most}`)
      bar.style.transform = `scaleX(${Math.min(1, now / most)})`
      element.classList.toggle('full', now >= most)
    },
  }
}

/** What the server takes, in a sentence each. */
export const describeLimits = (limits: Limits): string =>
  [
    `Files of up to ${formatBytes(limits.max_upload_bytes)}.`,
    limits.max_bytes_per_user === null ? '' : `${formatBytes(limits.max_bytes_per_user)} in all.`,
    `What is unfinished is kept for ${formatDuration(limits.upload_ttl_seconds)} after its last byte.`,
  ]
    .filter(Boolean)
    .join(' ')
