/** Published test vectors. In a clone without them, the tests that need them are skipped. */
import { existsSync, readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { ROOT } from './node-command.ts'
import type { TestContext } from './test-context.ts'

/**
 * Reads one file of vectors as text, unpacked if its name ends in `.gz`: from the folder
 * `PARAPET_VECTORS`, else from `../shared/vectors` beside the project.
 *
 * @param path relative to that folder, for instance `anomaly/pima.csv.gz`.
 * @returns `null` if there is no such folder; the test is skipped by then and should return.
 * @throws Error the folder exists, but the file does not.
 */
export function readVectorText(t: TestContext, path: string): string | null {
  const given = process.env['PARAPET_VECTORS']
  const folder =
    given === undefined || given === ''
      ? new URL('../shared/vectors/', ROOT)
      : pathToFileURL(`${given}/`)
  if (!existsSync(folder)) {
    t.pass(`needs vectors/${path}`, { skip: 'no vectors: PARAPET_VECTORS names no folder' })
    return null
  }
  const bytes = readFileSync(new URL(path, folder))
  return (path.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
}

/**
 * Reads one file of vectors as JSON: `.json`, `.jsonl` (an array of its lines), either with `.gz`.
 * The caller names the shape; it is not checked.
 *
 * @returns `null` as {@link readVectorText} does.
 */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller names the shape
export function readVectors<T>(t: TestContext, path: string): T | null {
  const text = readVectorText(t, path)
  if (text === null) return null
  if (!/\.jsonl(\.gz)?$/.test(path)) return JSON.parse(text) as T
  return JSON.parse(`[${text.trim().split('\n').join(',')}]`) as T
}
