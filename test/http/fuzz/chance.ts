import { seededRandom } from '../../support/proxy.ts'

/** Chance that is the same each time for the same seed. */
export interface Chance {
  /** a whole number from 0 up to but not including `below` */
  below(below: number): number
  /** true in so many of a hundred cases */
  percent(percent: number): boolean
  oneOf<T>(choices: readonly T[]): T
  /** some of them, in any order */
  someOf<T>(choices: readonly T[], most: number): T[]
  bytes(length: number): Buffer
}

export function chanceOf(seed: number): Chance {
  const random = seededRandom(seed)
  const below = (limit: number) => Math.floor(random() * limit)
  const oneOf = <T>(choices: readonly T[]): T => choices[below(choices.length)] as T
  return {
    below,
    percent: (percent) => random() * 100 < percent,
    oneOf,
    someOf: (choices, most) => Array.from({ length: below(most + 1) }, () => oneOf(choices)),
    bytes: (length) => Buffer.from(Array.from({ length }, () => below(256))),
  }
}
