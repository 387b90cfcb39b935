/** The thread of `src/hashing/hashing.ts` as it stands there: a thread knows nothing of how the tests read TypeScript. */
import { register } from 'tsx/esm/api'

register()
await import('../../src/hashing/hashing-thread.ts')
