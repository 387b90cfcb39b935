/** The package has no types of its own. */
declare module 'http-range-parse' {
  type Parsed = { first: number; last?: number } | { suffix: number }

  /** @throws {Error} on anything without one `=`, or with a range without one `-` */
  function parse(header: string): (Parsed & { unit: string }) | { unit: string; ranges: Parsed[] }
  export = parse
}
