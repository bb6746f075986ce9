/** Where the sealed parts of archives are kept until they are downloaded or expire. */
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { SqlClient } from '@parapet/kit'
import { PARAPET_PRIVACY_INVALID_ARGUMENT } from '../errors.ts'

/** Which part: the id of the request, the name of the source, and its number from 0. */
export interface PartKey {
  readonly request: string
  readonly source: string
  readonly part: number
}

/** Stores sealed text. What it stores is unreadable without the keys. */
export interface ArchiveParts {
  /** Stores a part; one with the same key is replaced. */
  write(key: PartKey, sealed: string): Promise<void>
  read(key: PartKey): Promise<string | null>
  /** Removes every part of a request. */
  removeAll(request: string): Promise<void>
}

/** Parts in memory, for tests and small data. @param maxBytes @default 64 MiB */
export function createMemoryParts(maxBytes = 67_108_864): ArchiveParts {
  const archives = new Map<string, Map<string, string>>()
  let used = 0
  return {
    async write(key, sealed) {
      const archive = archives.get(key.request) ?? new Map<string, string>()
      const former = archive.get(nameOf(key))?.length ?? 0
      if (used + sealed.length - former > maxBytes) {
        const problem = `need more than ${maxBytes} bytes; set "sql" or "archives"`
        throw new PARAPET_PRIVACY_INVALID_ARGUMENT('"archives" in memory', problem)
      }
      used += sealed.length - former
      archives.set(key.request, archive.set(nameOf(key), sealed))
    },
    read: async (key) => archives.get(key.request)?.get(nameOf(key)) ?? null,
    async removeAll(request) {
      for (const text of archives.get(request)?.values() ?? []) used -= text.length
      archives.delete(request)
    },
  }
}

function nameOf({ source, part }: PartKey): string {
  return `${source}/${part}`
}

/** Parts in the table `privacy_archive_parts`. */
export function createSqlParts(sql: SqlClient): ArchiveParts {
  return {
    async write({ request, source, part }, sealed) {
      await sql.query(
        `INSERT INTO privacy_archive_parts (request_id, source, part, sealed) VALUES ($1, $2, $3, $4)
         ON CONFLICT (request_id, source, part) DO UPDATE SET sealed = excluded.sealed`,
        [request, source, part, sealed],
      )
    },
    async read({ request, source, part }) {
      const { rows } = await sql.query<{ sealed: string }>(
        'SELECT sealed FROM privacy_archive_parts WHERE request_id = $1 AND source = $2 AND part = $3',
        [request, source, part],
      )
      return rows[0]?.sealed ?? null
    },
    async removeAll(request) {
      await sql.query('DELETE FROM privacy_archive_parts WHERE request_id = $1', [request])
    },
  }
}

/**
 * Parts as files of a folder that all instances share.
 *
 * @param folder created with mode 0700. Names are ids of requests and names of sources, never personal data.
 */
export function createFolderParts(folder: string): ArchiveParts {
  const folderOf = (request: string) => join(folder, request)
  const pathOf = ({ request, source, part }: PartKey) =>
    join(folderOf(request), `${source}.${part}`)
  return {
    async write(key, sealed) {
      await mkdir(folderOf(key.request), { recursive: true, mode: 0o700 })
      const draft = `${pathOf(key)}.draft`
      await writeFile(draft, sealed, { mode: 0o600 })
      await rename(draft, pathOf(key))
    },
    async read(key) {
      try {
        return await readFile(pathOf(key), 'latin1')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null
        throw error
      }
    },
    async removeAll(request) {
      await rm(folderOf(request), { recursive: true, force: true })
    },
  }
}
