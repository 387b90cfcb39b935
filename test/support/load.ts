import type { Client } from './client.ts'
import { eventually } from './slow-request.ts'

const untilMetric = (call: Client, name: string, value: number) =>
  eventually(
    async () => (await call('GET', '/metrics')).text.includes(`\n${name} ${value}\n`),
    `${name} is ${value}`,
  )

/** Resolves when so many bodies are open at the server. */
export const untilInflight = (call: Client, bodies: number) => untilMetric(call, 'inflight_chunks', bodies)

/** Resolves when so many bodies and writes wait. */
export const untilQueued = (call: Client, waiting: number) => untilMetric(call, 'task_queue_depth', waiting)
