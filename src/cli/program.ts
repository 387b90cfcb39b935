import { Command, CommanderError, Option } from 'commander'
import type { DoctorOptions } from './commands/doctor.ts'
import type { DownloadOptions } from './commands/download.ts'
import type { ListOptions } from './commands/list.ts'
import type { Direction } from './commands/migrate.ts'
import type { ServerOptions } from './commands/client.ts'
import type { UploadOptions } from './commands/upload.ts'
import { EXIT, Failure } from './failure.ts'
import { byteSize, wholeNumber } from './options.ts'
import type { Terminal } from './terminal/output.ts'

const EXIT_CODES = `
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 the server does not take the key,
130 interrupted, 143 terminated.`

const SERVER = `
The server is --url or UPLOAD_URL, http://127.0.0.1:8000 without either. The key, or a
token, is in UPLOAD_API_KEY; --api-key does too, but everybody on the machine can see it.`

/** Reads the arguments, does what they say and tells what went wrong. @returns the exit code */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.done
  const program = describe(terminal, (code) => {
    exitCode = code
  })
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage
    if (!(error instanceof Error)) throw error
    terminal.stderr.write(`${error.message}\n`)
    return error instanceof Failure ? error.exitCode : EXIT.failed
  }
}

/** Every command, its options and its help. What a command needs is loaded when it runs. */
function describe(terminal: Terminal, ended: (exitCode: number) => void): Command {
  const program = new Command('upload-server')
    .description('Uploads, downloads and looks after files on an upload server.')
    .version(terminal.version)
    .exitOverride()
    .configureOutput({
      writeOut: (text) => void terminal.stdout.write(text),
      writeErr: (text) => void terminal.stderr.write(text),
    })
    .showSuggestionAfterError()
    .addHelpText('after', `${SERVER}\n${EXIT_CODES}`)

  onServer(program.command('upload'))
    .summary('upload files')
    .description('Uploads files and prints the id and the URL of each. "-" is what comes by a pipe.')
    .argument('<file...>')
    .addOption(
      new Option('--dialect <name>', 'numbered chunks in parallel, or a tus stream for each file').choices([
        'native',
        'tus',
      ]),
    )
    .option('--parallel <n>', 'bodies on the way at a time', wholeNumber(1, 64), 4)
    .option('--resume', 'go on with an upload of the same file that was broken off')
    .option('--checksum', 'have the server check the SHA-256: of the file (native), of each piece (tus)')
    .option('--chunk-size <size>', 'of a chunk, or the most in one tus request, such as 8MiB', byteSize)
    .option('--name <name>', 'what the file is to be called')
    .option('--type <type>', 'its media type, such as video/mp4')
    .addHelpText(
      'after',
      `
Examples:
  upload-server upload film.mp4
  upload-server upload --resume film.mp4          after Ctrl-C, a crash or a reboot
  upload-server upload --dialect tus *.jpg
  tar cz folder | upload-server upload - --name folder.tar.gz`,
    )
    .action(async (files: string[], options: UploadOptions) => {
      const { upload } = await import('./commands/upload.ts')
      ended(await upload(terminal, files, options))
    })

  onServer(program.command('download'))
    .summary('download a file')
    .description('Downloads a complete upload. The file gets its name when it is whole and checked.')
    .argument('<id>')
    .option('-o, --output <file>', 'where to; "-" is a pipe (default: its name, in this folder)')
    .option('--parallel <n>', 'ranges at a time', wholeNumber(1, 64), 1)
    .addHelpText('after', '\nWhat was broken off is in FILE.part; the same command goes on with it.')
    .action(async (id: string, options: DownloadOptions) => {
      const { download } = await import('./commands/download.ts')
      ended(await download(terminal, id, options))
    })

  onServer(program.command('list'))
    .summary('list your uploads')
    .description('Lists your uploads, newest first: id, status, size, share that is there, time, name.')
    .option('--status <status>', 'initiated, in_progress, completed, failed or aborted')
    .option('--limit <n>', 'how many at most', wholeNumber(1, 1_000_000), 50)
    .action(async (options: ListOptions) => {
      const { list } = await import('./commands/list.ts')
      ended(await list(terminal, options))
    })

  onServer(program.command('rm'))
    .summary('delete uploads')
    .description('Deletes uploads, finished or not.')
    .argument('<id...>')
    .action(async (ids: string[], options: ServerOptions) => {
      const { remove } = await import('./commands/remove.ts')
      ended(await remove(terminal, ids, options))
    })

  describeMigrate(program, async (direction, options) => {
    const { migrate } = await import('./commands/migrate.ts')
    ended(await migrate(terminal, direction, options))
  })

  program
    .command('doctor')
    .summary('look for what is wrong with an installation')
    .description(
      'Checks what the server needs on this machine, by its environment and .env; or with --url a deployment, as its clients see it. Exits with 1 when a check fails.',
    )
    .option('--url <url>', 'the deployment to check')
    .option('--api-key <key>', 'a key for it; UPLOAD_API_KEY is better')
    .option('--origin <origin>', 'an origin whose pages are to upload there, such as https://www.example.org')
    .option('--deep', 'send a body of 110 MiB, too')
    .option('--json', 'a JSON object for each check')
    .action(async (options: DoctorOptions) => {
      const { doctor } = await import('./commands/doctor.ts')
      ended(await doctor(terminal, options))
    })

  return program
}

const onServer = (command: Command): Command =>
  command
    .option('--url <url>', 'the server, else UPLOAD_URL')
    .option('--api-key <key>', 'a key or token, else UPLOAD_API_KEY')
    .option('--json', 'a JSON object on a line for each result')
    .option('-q, --quiet', 'no progress')
    .option(
      '--retry-for <seconds>',
      'how long to try again while nothing gets through',
      wholeNumber(0, 1_000_000),
      300,
    )

function describeMigrate(
  program: Command,
  does: (direction: Direction, options: { count?: number; json?: boolean }) => Promise<void>,
): void {
  const migrate = program
    .command('migrate')
    .summary('bring the database up to date, or back')
    .description('Migrates the database of DATABASE_URL. A server does "up" by itself when it starts.')
  const json = ['--json', 'as JSON'] as const
  migrate
    .command('up')
    .description('apply what is missing')
    .option(...json)
    .action((options: { json?: boolean }) => does('up', options))
  migrate
    .command('down')
    .description('undo the last one, or the last n; stop the server before')
    .argument('[n]', 'how many', wholeNumber(1, 1_000), 1)
    .option(...json)
    .action((count: number, options: { json?: boolean }) => does('down', { ...options, count }))
  migrate
    .command('status')
    .description('tell which are applied')
    .option(...json)
    .action((options: { json?: boolean }) => does('status', options))
}
