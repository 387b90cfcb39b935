// Builds the web console into dist/console, or into the folder given: one script and one stylesheet, Uppy
// with them, whose names change with their bytes, the page that loads them, and all of it compressed.
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import { build } from 'esbuild'

const root = path.join(import.meta.dirname, '..')
const source = path.join(root, 'src', 'console')
const target = path.resolve(process.argv[2] ?? path.join(root, 'dist', 'console'))

const { outputFiles } = await build({
  entryPoints: ['console.ts', 'console.css'].map((name) => path.join(source, name)),
  outdir: target,
  entryNames: '[name]-[hash]',
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  legalComments: 'eof',
  write: false,
})
const bundles = outputFiles.map(({ path: file, contents }) => [path.basename(file), Buffer.from(contents)])
const page = bundles.reduce(
  (html, [name]) => html.replaceAll(`console${path.extname(name)}`, name),
  await readFile(path.join(source, 'index.html'), 'utf8'),
)
const files = [
  ...bundles,
  ['index.html', Buffer.from(page)],
  ['icon.svg', await readFile(path.join(source, 'icon.svg'))],
]

await rm(target, { recursive: true, force: true })
await mkdir(target, { recursive: true })
for (const [name, bytes] of files) {
  const file = path.join(target, name)
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }
  await writeFile(file, bytes)
  await writeFile(`${file}.gz`, await promisify(gzip)(bytes, { level: 9 }))
  await writeFile(`${file}.br`, await promisify(brotliCompress)(bytes, quality))
}
