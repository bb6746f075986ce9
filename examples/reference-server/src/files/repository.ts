/** Stores what is known of files; their contents are elsewhere. */
import type { FieldEncryption } from '@parapet/field-encryption'
import type { SqlQueryable } from '@parapet/kit'
import type { FastifyBaseLogger } from 'fastify'
import { PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { encryptMember } from '../storage/encrypted-member.ts'
import { createTable, type Condition, type Table, type TableShape } from '../storage/table.ts'
import { EncryptedFile, type FileValues } from './schemas.ts'

/** The dependencies of the repository. */
export interface FilePorts {
  readonly sql: SqlQueryable
  readonly fieldEncryption: FieldEncryption
  readonly log: Pick<FastifyBaseLogger, 'warn'>
}

const shape: TableShape<FileValues> = {
  name: 'files',
  columns: { ownerId: 'owner_id', folder: 'folder', name: 'name', bytes: 'bytes', state: 'state' },
  reading: { ownerId: 'owner_id::text', bytes: 'bytes::float8' },
  // The account of a session that still runs was deleted.
  conflicts: { '23503': PARAPET_REFERENCE_NOT_FOUND },
}

/** Creates the repository of files. */
export function createFileTable({ sql, fieldEncryption, log }: FilePorts): Table<FileValues> {
  return encryptMember(createTable<FileValues>(sql, shape), 'name', {
    encrypted: fieldEncryption.table('files', EncryptedFile),
    onUnreadable: (fileId) =>
      log.warn({ fileId }, 'left out the name of a file, which cannot be decrypted'),
  })
}

/** Selects files whose content is stored. */
export const whole: Condition = () => ({ text: `state = 'stored'`, values: [] })

/** How many files an account has, also unfinished ones. */
export async function countFiles(sql: SqlQueryable, ownerId: string): Promise<number> {
  const text = 'SELECT count(*)::int AS files FROM files WHERE owner_id = $1'
  return (await sql.query<{ files: number }>(text, [ownerId])).rows[0]!.files
}

/** A file that nobody can read any more. */
interface LostFile {
  readonly id: string
  readonly folder: string
}

/** Finds uploads that did not finish within an hour, and files of deleted accounts; at most 1000. */
export async function findLostFiles(sql: SqlQueryable): Promise<readonly LostFile[]> {
  const { rows } = await sql.query<LostFile>(
    `SELECT id::text AS id, folder FROM files
     WHERE owner_id IS NULL OR (state = 'pending' AND created_at < now() - interval '1 hour')
     ORDER BY id LIMIT 1000`,
  )
  return rows
}
