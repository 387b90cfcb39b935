/** Lets `width` in at a time, in the order in which they ask. */
export function createTurns(width: number): (signal: AbortSignal) => Promise<() => void> {
  const waiting: (() => void)[] = []
  let free = width

  const giveBack = () => {
    const next = waiting.shift()
    if (next) next()
    else free += 1
  }
  return (signal) =>
    new Promise((resolve, reject) => {
      const enter = () => {
        signal.removeEventListener('abort', leave)
        resolve(giveBack)
      }
      const leave = () => {
        const place = waiting.indexOf(enter)
        if (place >= 0) waiting.splice(place, 1)
        reject(signal.reason as Error)
      }
      if (signal.aborted) return leave()
      if (free > 0) {
        free -= 1
        return resolve(giveBack)
      }
      signal.addEventListener('abort', leave, { once: true })
      waiting.push(enter)
    })
}
