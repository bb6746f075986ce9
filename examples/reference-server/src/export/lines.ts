/** The rows of a table as lines of JSON, read page by page: an export needs little memory. */
import type { Table } from '../storage/table.ts'

const PAGE = 200

/** Yields one line for each row, the oldest first. */
export async function* linesOf(table: Pick<Table<object>, 'list'>): AsyncGenerator<Buffer> {
  let cursor: string | undefined
  do {
    const { items, nextCursor } = await table.list({
      limit: PAGE,
      ...(cursor === undefined ? undefined : { cursor }),
    })
    const lines = items.map((row) => `${JSON.stringify(row)}\n`)
    if (lines.length > 0) yield Buffer.from(lines.join(''))
    cursor = nextCursor
  } while (cursor !== undefined)
}
