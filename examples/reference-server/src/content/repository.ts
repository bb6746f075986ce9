/** Stores content. */
import type { SqlQueryable } from '@parapet/kit'
import { PARAPET_REFERENCE_AUTHOR_UNKNOWN } from '../errors.ts'
import { createTable, type Table } from '../storage/table.ts'
import type { NewContent } from './schemas.ts'

/** Creates the repository of content. */
export function createContent(sql: SqlQueryable): Table<NewContent> {
  return createTable<NewContent>(sql, {
    name: 'content',
    columns: { authorId: 'author_id', title: 'title', body: 'body', status: 'status' },
    conflicts: { '23503': PARAPET_REFERENCE_AUTHOR_UNKNOWN },
  })
}
