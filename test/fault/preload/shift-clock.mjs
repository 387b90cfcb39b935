// For `node --import`: a wall clock that is ahead, or behind, by what CLOCK_AHEAD_SECONDS says, or by what the
// file says that CLOCK_AHEAD_FILE names, which may change at any time. The monotonic clock is left alone.
import { readFileSync } from 'node:fs'

const RealDate = globalThis.Date
const { CLOCK_AHEAD_SECONDS = '0', CLOCK_AHEAD_FILE } = process.env

const ahead = () => {
  if (CLOCK_AHEAD_FILE === undefined) return Number(CLOCK_AHEAD_SECONDS) * 1000
  return Number(readFileSync(CLOCK_AHEAD_FILE, 'utf8')) * 1000
}

globalThis.Date = class Date extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now() + ahead())
    else super(...args)
  }

  static now() {
    return RealDate.now() + ahead()
  }
}
