/**
 * The same question, asked several times in one turn of the event loop, is put once: the many readers of a file
 * all ask for its row. It is put when the turn is over, so that no answer is older than any of its askers.
 */
export function oncePerTurn<T>(put: (id: string) => Promise<T>): (id: string) => Promise<T> {
  const asked = new Map<string, Promise<T>>()
  return (id) => {
    const known = asked.get(id)
    if (known) return known
    const answer = new Promise<T>((resolve) => {
      setImmediate(() => {
        asked.delete(id)
        resolve(put(id))
      })
    })
    asked.set(id, answer)
    return answer
  }
}
