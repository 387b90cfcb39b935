import { defineConfig } from 'vitest/config'

/** Tests that need no server: whatever takes longer than this hangs. */
const QUICK = ['test/unit/**/*.test.ts']

export default defineConfig({
  test: {
    // Every file has its own process: servers, ports and databases of one can't reach another.
    pool: 'forks',
    globals: false,
    projects: [
      {
        extends: true,
        test: { name: 'unit', include: QUICK, testTimeout: 20_000, hookTimeout: 20_000 },
      },
      {
        extends: true,
        test: {
          name: 'server',
          include: ['test/**/*.test.ts'],
          exclude: QUICK,
          globalSetup: 'test/support/postgres-setup.ts',
          // Real processes, databases and disks, on a machine that does other things as well: there a test that
          // fails is tried once more, and told as retried.
          retry: process.env['CI'] === undefined ? 0 : 1,
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
})
