/** Pieces of work that run side by side and are settled one after the other, in the order of their coming. */
export interface Line<T> {
  /** Adds one that has begun; resolves once `most` at most are not settled, rejects once one has failed. */
  add(work: Promise<T>): Promise<void>
  /** Resolves once all are settled; rejects, once all are over, with the first failure in their order. */
  end(): Promise<void>
}

export interface Settling<T> {
  /** how many may be on their way while the next begins */
  most: number
  /** A failure of it is that of the work. */
  settle(result: T): Promise<void>
  /** Told at once of the first failure: nothing that comes behind it is settled any more. */
  failed(error: unknown): void
  /** What came of work behind a failure. */
  abandon(result: T): void
}

export function createLine<T>({ most, settle, failed, abandon }: Settling<T>): Line<T> {
  const unsettled = new Set<Promise<void>>()
  let last: Promise<void> = Promise.resolve()
  let failure: { error: unknown } | null = null

  const follow = async (before: Promise<void>, work: Promise<T>): Promise<void> => {
    try {
      // Nobody else may be waiting for it yet.
      work.catch(() => {})
      await before
      const result = await work
      if (failure) abandon(result)
      else await settle(result)
    } catch (error) {
      if (failure) return
      failure = { error }
      failed(error)
    }
  }
  const throwFailure = () => {
    if (failure) throw failure.error
  }

  return {
    async add(work) {
      const following = follow(last, work)
      last = following
      unsettled.add(following)
      void following.then(() => unsettled.delete(following))
      while (unsettled.size > most) await [...unsettled][0]
      throwFailure()
    },
    async end() {
      await last
      throwFailure()
    },
  }
}
