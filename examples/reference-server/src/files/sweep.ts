/** Deletes every hour what no account can read any more. */
import type { Files } from '@parapet/field-encryption'
import type { FastifyInstance } from 'fastify'
import { contentName } from './contents.ts'
import { findLostFiles } from './repository.ts'

const JOB = 'files.sweep'
const HOUR_MS = 3_600_000

/** Deletes the contents and then the rows, so that a crash between them leaves nothing behind. */
export async function sweepFiles({ sql }: FastifyInstance, contents: Files): Promise<number> {
  const lost = await findLostFiles(sql)
  for (const file of lost) {
    await contents.delete(contentName(file))
    await sql.query('DELETE FROM files WHERE id = $1', [file.id])
  }
  return lost.length
}

/** Sweeps once an hour, on one instance. */
export function scheduleSweep(app: FastifyInstance, contents: Files): void {
  app.jobs.define(JOB, async () => {
    const files = await sweepFiles(app, contents)
    if (files > 0)
      app.log.info({ files }, 'deleted files of deleted accounts and unfinished uploads')
  })
  app.addHook('onReady', () => app.jobs.every(JOB, HOUR_MS))
}
