/** A digest of bytes that come piece by piece, wherever it is computed. */
export interface Hash {
  /**
   * Takes the next bytes, which must stay as they are until it resolves; undefined when it is done with them at
   * once. What goes wrong shows in `digest` only.
   */
  update(bytes: Uint8Array): Promise<void> | undefined
  /** Of all bytes so far; ends it. @throws when it could not be computed */
  digest(): Promise<Uint8Array>
  /** Ends it where nobody wants the digest any more; after the digest it does nothing. */
  drop(): void
}

/**
 * @param algorithm as OpenSSL names it
 * @param bytes that will come; null where nobody knows
 */
export type OpenHash = (algorithm: string, bytes: number | null) => Hash
