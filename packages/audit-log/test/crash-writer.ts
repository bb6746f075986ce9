/** Records as fast as possible and prints each acknowledged id, until it is killed. */
import { writeSync } from 'node:fs'
import { setImmediate } from 'node:timers/promises'
import { auditLog } from '@parapet/audit-log'
import { createSqlClient } from '@parapet/kit'
import Fastify from 'fastify'
import { Pool } from 'pg'

const [folder, url] = process.argv.slice(2)
const app = Fastify()
await app.register(auditLog, {
  origin: 'example.org/audit',
  directory: folder!,
  integrateIntervalMs: 20,
  spool: { segmentBytes: 64 * 1024 },
  ...(url === undefined
    ? undefined
    : { sql: createSqlClient(new Pool({ connectionString: url, max: 4 })) }),
})
writeSync(1, 'ready\n')

/** Writes synchronously, so that a kill cannot lose an acknowledged id; waits while the pipe is full. */
async function print(id: string): Promise<void> {
  for (;;) {
    try {
      writeSync(1, `${id}\n`)
      return
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error
      await setImmediate()
    }
  }
}

async function work(): Promise<never> {
  for (;;) {
    const { id } = await app.audit.record('load.test', {
      data: { text: 'x'.repeat(Math.random() * 400) },
    })
    await print(id)
  }
}

await Promise.all(Array.from({ length: 50 }, work))
