/** Where the command reads a log from. */
import { createHash } from 'node:crypto'
import { access, cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createSqlClient, type PgliteLike, type PgPoolLike } from '@parapet/kit'
import { DirectoryStore } from '../directory/store.ts'
import type { VerifiableLog } from '../log/log-store.ts'
import { folderReader, urlReader } from '../mirror/readers.ts'
import { TileLog, type ReadFile } from '../mirror/tile-log.ts'
import { PostgresStore } from '../postgres/store.ts'

/** A log, and how to let go of it. */
export interface Source {
  readonly log: VerifiableLog
  readonly close: () => Promise<void>
}

/** The option `directory` of the plugin, the folder of a log, or a mirror of its tiles. */
export async function openDirectory(folder: string, isForeign: boolean): Promise<Source> {
  const inner = join(folder, 'log')
  const place = (await exists(join(inner, 'state.json'))) ? inner : folder
  const isMirror =
    isForeign ||
    (!(await exists(join(place, 'state.json'))) && (await exists(join(folder, 'checkpoint'))))
  const log = isMirror ? openTiles(folderReader(folder), isForeign) : new DirectoryStore(place)
  return { log, close: async () => {} }
}

/** A mirror behind a URL, for example the routes of the plugin. @param lines as `name: value` */
export function openUrl(url: string, lines: readonly string[], isForeign: boolean): Source {
  const headers = Object.fromEntries(
    lines.map((line) => [line.split(':', 1)[0]!, line.slice(line.indexOf(':') + 1).trim()]),
  )
  return { log: openTiles(urlReader(url, headers), isForeign), close: async () => {} }
}

/** The entries of a foreign log are bytes, not text. */
function openTiles(read: ReadFile, isForeign: boolean): TileLog {
  return new TileLog(read, isForeign ? 'latin1' : 'utf8')
}

/**
 * The checkpoint that a witness serves for a log; `null` if it has none.
 *
 * @param url the monitoring prefix. @see https://c2sp.org/tlog-witness
 */
export async function readServed(url: string, origin: string): Promise<string | null> {
  const name = createHash('sha256').update(origin).digest('hex')
  return (await urlReader(url, {})(`${name}/checkpoint`))?.toString() ?? null
}

/** @param pool is ended with the source. */
export function openDatabase(pool: PgPoolLike & { end(): Promise<void> }): Source {
  return { log: new PostgresStore(createSqlClient(pool)), close: () => pool.end() }
}

/** A copy is opened: PGlite would change the folder, and break the process that uses it. */
export async function openPglite(
  folder: string,
  create: (folder: string) => Promise<PgliteLike & { close(): Promise<void> }>,
): Promise<Source> {
  const copy = await mkdtemp(join(tmpdir(), 'audit-log-verify-'))
  const remove = () => rm(copy, { recursive: true, force: true })
  try {
    await cp(folder, copy, { recursive: true })
    const db = await create(copy)
    const close = async () => {
      await db.close()
      await remove()
    }
    return { log: new PostgresStore(createSqlClient(db)), close }
  } catch (error) {
    await remove()
    throw error
  }
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  )
}
