/** Records that the app writes in its own SQL transaction. */
import type { SqlQueryable } from '@parapet/kit'
import type { Prepared } from '../record/recorder.ts'
import type { WriterKey } from '../trust/writer-key.ts'
import { finishRecord } from './writer.ts'

/** A client with an open transaction: of `pg`, or kit's. */
export type TransactionClient =
  | SqlQueryable
  | {
      query(text: string, values: unknown[]): Promise<unknown>
    }

/** Adds a record to the inbox with the caller's client. Such a record has no number. */
export async function recordInTransaction(
  client: TransactionClient,
  prepared: Prepared,
  writerKey: WriterKey,
): Promise<{ readonly id: string }> {
  const { leaf, attachments } = finishRecord(prepared, 'tx', undefined)
  const { id } = prepared.draft
  await client.query(
    `INSERT INTO audit_log_inbox (writer, seq, leaf, beside, mac) VALUES ('tx', NULL, $1, $2, $3)`,
    [leaf, attachments, writerKey.macOfRow({ writer: 'tx', seq: null, leaf, attachments })],
  )
  return { id }
}
