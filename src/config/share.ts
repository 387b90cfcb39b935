import type { Config } from './config.ts'

/**
 * What one of `webConcurrency` processes takes of what was set for all of them. Each gets something, so where
 * there is less than a piece for each they have more together.
 *
 * What is about one upload, one key or one chunk stays whole: all of it may come by one connection, and so to
 * one process.
 */
export function shareOf(config: Config): Config {
  const among = config.webConcurrency
  const share = (whole: number) => Math.ceil(whole / among)
  return Object.freeze({
    ...config,
    maxGlobalInflightChunks: share(config.maxGlobalInflightChunks),
    taskQueueMaxsize: share(config.taskQueueMaxsize),
    workerCount: share(config.workerCount),
    // 0 is half of the workers, of which there are fewer already.
    maxFairInflightChunksPerUpload: share(config.maxFairInflightChunksPerUpload),
    databasePoolSize: share(config.databasePoolSize),
    // A guesser would else have as many guesses as there are processes; 0 stays no limit.
    authFailuresPerMinute: share(config.authFailuresPerMinute),
  })
}
