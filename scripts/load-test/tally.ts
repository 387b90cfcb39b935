import type { Options } from './options.ts'

/** What is counted while the files go up. */
export interface Tally {
  bytes: number
  chunks: number
  chunkLatenciesMs: number[]
  fileTotalsMs: number[]
  retries: number
  throttled: number
  failures: string[]
}

export const newTally = (): Tally => ({
  bytes: 0,
  chunks: 0,
  chunkLatenciesMs: [],
  fileTotalsMs: [],
  retries: 0,
  throttled: 0,
  failures: [],
})

/** The result as it is written: names and units are fixed, other programs read them. */
export interface Result {
  elapsed_seconds: number
  total_bytes_uploaded: number
  total_chunks_uploaded: number
  throughput_mb_per_s: number
  chunk_latency_ms_avg: number
  chunk_latency_ms_p95: number
  file_total_ms_avg: number
  retries: number
  throttled: number
  failed_files: number
  config: Record<string, string | number | boolean>
}

export const toResult = (tally: Tally, elapsedMs: number, options: Options): Result => ({
  elapsed_seconds: round(elapsedMs / 1000),
  total_bytes_uploaded: tally.bytes,
  total_chunks_uploaded: tally.chunks,
  throughput_mb_per_s: elapsedMs > 0 ? round(tally.bytes / 1e6 / (elapsedMs / 1000)) : 0,
  chunk_latency_ms_avg: round(average(tally.chunkLatenciesMs)),
  chunk_latency_ms_p95: round(percentile(tally.chunkLatenciesMs, 95)),
  file_total_ms_avg: round(average(tally.fileTotalsMs)),
  retries: tally.retries,
  throttled: tally.throttled,
  failed_files: tally.failures.length,
  config: {
    base_url: options.baseUrl,
    dialect: options.dialect,
    profile: options.profile,
    files: options.files,
    file_size_bytes: options.fileSizeBytes,
    chunk_size_bytes: options.chunkSizeBytes,
    concurrent_files: options.concurrentFiles,
    per_file_chunk_workers: options.chunkWorkers,
    chunk_sha256: options.chunkSha256,
    verify: options.verify,
  },
})

export const average = (values: readonly number[]): number =>
  values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length

/** By nearest rank: a value that was measured, at or below which `percent` of them lie. 0 of none. */
export const percentile = (values: readonly number[], percent: number): number =>
  values.toSorted((a, b) => a - b)[Math.max(0, Math.ceil((percent / 100) * values.length) - 1)] ?? 0

const round = (value: number): number => Math.round(value * 1000) / 1000

export const summary = (result: Result, tally: Tally): string =>
  [
    `files      ${tally.fileTotalsMs.length} uploaded, ${result.failed_files} failed`,
    `bytes      ${result.total_bytes_uploaded} in ${result.total_chunks_uploaded} chunks`,
    `time       ${result.elapsed_seconds.toFixed(2)} s`,
    `throughput ${result.throughput_mb_per_s.toFixed(1)} MB/s`,
    `chunk      ${result.chunk_latency_ms_avg.toFixed(1)} ms on average, 95 % within ${result.chunk_latency_ms_p95.toFixed(1)} ms`,
    `file       ${result.file_total_ms_avg.toFixed(1)} ms on average`,
    `retries    ${result.retries}`,
    `throttled  ${result.throttled}`,
    ...tally.failures.slice(0, 10).map((failure) => `failed     ${failure}`),
    ...(tally.failures.length > 10 ? [`failed     … and ${tally.failures.length - 10} more`] : []),
  ].join('\n')
