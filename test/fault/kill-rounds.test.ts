import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { builtServer } from '../support/built-process.ts'
import { useFolder } from '../support/folder.ts'
import { seededRandom } from '../support/proxy.ts'
import { CHUNK, type Chance } from './kill-rounds/client.ts'
import { nativeClient } from './kill-rounds/native-client.ts'
import { tusClient } from './kill-rounds/tus-client.ts'

/** FAULT_ROUNDS=200 for many more, FAULT_SEED=… for others. */
const ROUNDS = Number(process.env['FAULT_ROUNDS'] ?? 20)
const SEED = Number(process.env['FAULT_SEED'] ?? 20_261_125)
/** After the first requests of a round, at a time at random up to here. */
const LONGEST_LIFE_MS = 300

const start = builtServer()

const chanceOf = (random: () => number): Chance => ({
  between: (least, most) => least + Math.floor(random() * (most - least + 1)),
  once: (times) => random() * times < 1,
})

test(
  `kill -9 at ${ROUNDS} random moments, while both dialects upload, loses nothing that was acknowledged (seed ${SEED})`,
  async () => {
    const root = await useFolder()
    const random = seededRandom(SEED)
    const clients = [nativeClient(chanceOf(random)), tusClient(chanceOf(random)), tusClient(chanceOf(random))]
    const boot = () =>
      start(root, { CHUNK_SIZE_BYTES: String(CHUNK), DURABILITY: random() < 0.2 ? 'disk' : 'process' })

    for (let round = 0; round < ROUNDS; round++) {
      const { server, call } = await boot()
      for (const client of clients) await client.check(call)
      const working = Promise.all(clients.map((client) => client.work(server.url)))
      await Promise.race([working, sleep(random() * LONGEST_LIFE_MS)])
      expect(await server.signal('SIGKILL')).toBe('SIGKILL')
      await working
    }
    const { server } = await boot()
    for (const client of clients) {
      await client.finish(server.url)
      expect(client.sent.filter(({ state }) => state === 'complete').length).toBeGreaterThan(0)
    }
  },
  60_000 + ROUNDS * 10_000,
)
