import { InvalidArgumentError } from 'commander'

/** A whole number from `least` to `most`. @throws {InvalidArgumentError} */
export const wholeNumber =
  (least: number, most: number) =>
  (text: string): number => {
    const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
    if (value >= least && value <= most) return value
    throw new InvalidArgumentError(`It must be a whole number from ${least} to ${most}.`)
  }

const FACTORS: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  KB: 1000,
  MB: 1000 ** 2,
  GB: 1000 ** 3,
  KIB: 1024,
  MIB: 1024 ** 2,
  GIB: 1024 ** 3,
}

/** `5242880`, `8MiB`, `8M`, `10MB`. @throws {InvalidArgumentError} */
export function byteSize(text: string): number {
  const [, digits = '', unit = ''] = /^(\d+)\s*([a-z]*)$/i.exec(text) ?? []
  const factor = digits === '' ? undefined : FACTORS[unit.toUpperCase().replace(/^B$/, '')]
  const value = Number(digits) * (factor ?? Number.NaN)
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new InvalidArgumentError('It must be a number of bytes such as 5242880, 8MiB or 10MB.')
}
