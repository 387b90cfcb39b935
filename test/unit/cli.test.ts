import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { retryAfterOf } from '../../src/cli/client/answer.ts'
import { persist } from '../../src/cli/client/persist.ts'
import { lineOf } from '../../src/cli/doctor/report.ts'
import { safeName } from '../../src/cli/download/download-file.ts'
import { Failure } from '../../src/cli/failure.ts'
import { byteSize } from '../../src/cli/options.ts'
import { barLine, plainLine } from '../../src/cli/terminal/bar.ts'
import { painter } from '../../src/cli/terminal/output.ts'
import { showProgress } from '../../src/cli/terminal/progress.ts'
import { measureSpeed } from '../../src/cli/terminal/speed.ts'
import { bytesWords, durationWords, plain } from '../../src/cli/terminal/words.ts'
import { createSlots, eachOf } from '../../src/cli/upload/slots.ts'
import { stateFolder } from '../../src/cli/upload/state.ts'

describe('words', () => {
  test.each([
    [0, '0 B'],
    [999, '999 B'],
    [1000, '1.0 kB'],
    [99_949, '99.9 kB'],
    [999_600, '1.0 MB'],
    [5e12, '5.0 TB'],
  ])('%i bytes are %s', (bytes, words) => expect(bytesWords(bytes)).toBe(words))

  test.each([
    [0, '0:00'],
    [65, '1:05'],
    [3_725, '1:02:05'],
  ])('%i seconds are %s', (seconds, words) => expect(durationWords(seconds)).toBe(words))

  test('a name has nothing that a terminal obeys', () => {
    expect(plain('a\x1b[31m\u202eb\n')).toBe('a?[31m?b?')
  })
})

describe('a bar', () => {
  const state = { name: 'film.mp4', bytes: 250e6, total: 1e9, bytesPerSecond: 25e6 }

  test('tells share, bytes, speed and time left', () => {
    expect(barLine(state, 100)).toMatch(
      /^film\.mp4 {2}\[#+-+\] {3}25 % {2}250 MB of 1\.0 GB {2}25\.0 MB\/s {2}0:30 left$/,
    )
  })

  test.each([200, 100, 80, 60, 40, 20])('never fills a line of %i columns', (columns) => {
    expect(barLine({ ...state, name: 'a name that is very long '.repeat(5) }, columns).length).toBeLessThan(
      columns,
    )
  })

  test('tells bytes and speed where nobody knows the end', () => {
    expect(barLine({ ...state, total: null }, 80)).toBe('film.mp4  250 MB  25.0 MB/s')
  })

  test('is a line of a log without a terminal', () => {
    expect(plainLine(state)).toBe('film.mp4: 25 % of 1.0 GB, 25.0 MB/s, 0:30 left')
  })

  test('draws over itself, and never over what is told beside it', async () => {
    let written = ''
    const screen = { write: (text: string) => (written += text), columns: 60 }
    const progress = showProgress(screen, 'bars')
    const bar = progress.start('a', 10)
    bar.note('hello')
    bar.end()
    expect(written.replaceAll('\x1b', 'ESC')).toMatch(/^a: hello\na .*\nESC\[1AESC\[0J$/)
  })

  test('goes by the last seconds, and not by what is sent again', () => {
    const speed = measureSpeed()
    speed.note(0, 0)
    expect(speed.bytesPerSecond(100)).toBeNull()
    speed.note(1_000_000, 1_000)
    expect(speed.bytesPerSecond(1_000)).toBe(1_000_000)
    speed.note(500_000, 2_000)
    expect(speed.bytesPerSecond(2_100)).toBeNull()
  })
})

test.each([
  ['1', 1],
  ['5242880', 5_242_880],
  ['8MiB', 8 * 1024 ** 2],
  ['8m', 8 * 1024 ** 2],
  ['10 MB', 10_000_000],
  ['1GiB', 1024 ** 3],
])('%s is a size', (text, bytes) => expect(byteSize(text)).toBe(bytes))

test.each(['', '0', '-1', '1.5MiB', '5 apples', 'MiB', '99999999999GiB'])('%j is no size', (text) => {
  expect(() => byteSize(text)).toThrow()
})

test.each([
  ['3', 3000],
  ['Thu, 01 Jan 1970 00:00:10 GMT', 10_000],
  ['soon', null],
  [null, null],
])('Retry-After: %s', (value, ms) => expect(retryAfterOf(value, 0)).toBe(ms))

describe('persistence', () => {
  const never = new AbortController().signal
  const waits: number[] = []
  const patient = {
    patienceMs: 60_000,
    signal: never,
    onWait: (_: Error, ms: number) => void waits.push(ms),
    random: () => 0,
  }

  test('waits for as long as the server asks, and not less', async () => {
    waits.length = 0
    let calls = 0
    await persist(patient, async () => {
      calls += 1
      if (calls === 1) throw new Failure('busy', { retry: true, retryAfterMs: 700 })
    })
    expect(waits).toEqual([700])
  })

  test('does not try again what can never succeed', async () => {
    await expect(
      persist(patient, async () => {
        throw new Failure('forbidden', { status: 403 })
      }),
    ).rejects.toThrow('forbidden')
    const missing = Object.assign(new Error('no file'), { code: 'ENOENT', syscall: 'open', path: 'a' })
    await expect(
      persist(patient, async () => {
        throw missing
      }),
    ).rejects.toBe(missing)
  })

  test('gives up when nothing got through for so long, and not while something does', async () => {
    waits.length = 0
    let calls = 0
    const impatient = { ...patient, patienceMs: 300 }
    const failing = async () => {
      calls += 1
      throw new Error('broken')
    }
    await expect(persist(impatient, failing, () => Math.min(calls, 3))).rejects.toThrow('broken')
    // Each of three steps made the next failure a first one, of 250 ms.
    expect(waits.slice(0, 3)).toEqual([250, 250, 250])
  })

  test('ends at once when it is interrupted in a wait', async () => {
    const stop = new AbortController()
    const working = persist({ ...patient, signal: stop.signal }, async () => {
      throw new Failure('busy', { retry: true, retryAfterMs: 50_000 })
    })
    await sleep(20)
    stop.abort(new Failure('Interrupted.'))
    await expect(working).rejects.toThrow('Interrupted.')
  })
})

describe('slots', () => {
  test('no more run at a time than there are', async () => {
    const slots = createSlots(2)
    let running = 0
    let most = 0
    await eachOf([1, 2, 3, 4, 5, 6], 6, () =>
      slots.run(async () => {
        running += 1
        most = Math.max(most, running)
        await sleep(1)
        running -= 1
      }),
    )
    expect(most).toBe(2)
  })

  test('a failure begins no other, and is thrown', async () => {
    const begun: number[] = []
    const work = async (item: number) => {
      begun.push(item)
      await sleep(1)
      if (item === 2) throw new Error('second')
    }
    await expect(eachOf([1, 2, 3, 4, 5], 2, work)).rejects.toThrow('second')
    expect(begun).toEqual([1, 2, 3])
  })
})

test('the state is where XDG_STATE_HOME says, unless that is relative', () => {
  expect(stateFolder({ XDG_STATE_HOME: '/s' }, '/home/a')).toBe('/s/upload-server')
  expect(stateFolder({ XDG_STATE_HOME: 's' }, '/home/a')).toBe('/home/a/.local/state/upload-server')
  expect(stateFolder({}, '/home/a')).toBe('/home/a/.local/state/upload-server')
})

test.each([
  ['film.mp4', 'film.mp4'],
  ['../../etc/passwd', 'passwd'],
  ['C:\\temp\\a', 'a'],
  ['..', 'download'],
  ['/', 'download'],
  ['.bashrc', '_bashrc'],
])('%j is saved as %j', (name, saved) => {
  expect(safeName({ file_name: name, upload_id: 'the-id' } as never)).toBe(saved)
})

test('colours are for terminals, and not with NO_COLOR', () => {
  const finding = { check: 'key', status: 'failed', found: 'none', remedy: 'Get one.' } as const
  const terminal = { isTTY: true } as never
  expect(lineOf(finding, painter({ env: {}, stdout: terminal }))).toContain('\x1b[31mfailed ')
  expect(lineOf(finding, painter({ env: { NO_COLOR: '1' }, stdout: terminal }))).toMatch(
    /^failed .*\n +→ Get one\.$/,
  )
  expect(lineOf(finding, painter({ env: {}, stdout: {} as never }))).toMatch(/^failed /)
})
