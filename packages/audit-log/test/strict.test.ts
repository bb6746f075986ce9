import { generateKeyPairSync, sign } from 'node:crypto'
import { createSqlClient } from '@parapet/kit'
import { usePostgres } from '@parapet/testing'
import t from 'tap'
import { parseCheckpoint } from '../src/log/checkpoint.ts'
import { createNoteKey, openNote, signNote } from '../src/log/signed-note.ts'
import { decodeFrame, FrameEncoder } from '../src/wal/frames.ts'
import { createApp, recordsOf } from './support.ts'

const ROOT = Buffer.alloc(32, 1).toString('base64')
const sized = (size: string) => `o\n${size}\n${ROOT}\n`
const extended = (...lines: string[]) => ['o', '5', ROOT, ...lines, ''].join('\n')

await t.test('a size that a number cannot hold exactly is refused, not rounded', (t) => {
  t.equal(parseCheckpoint(sized('9007199254740991'))?.size, Number.MAX_SAFE_INTEGER)
  for (const size of [
    '9007199254740992',
    '9007199254740993',
    '99999999999999999',
    '01',
    '+1',
    '',
  ]) {
    t.equal(parseCheckpoint(sized(size)), undefined, size)
  }
  const frame = Buffer.from(new FrameEncoder().encode(0, [{ leaf: '{}', attachments: null }]))
  t.equal(decodeFrame(frame, 0, 'w').kind, 'frame')
  t.end()
})

await t.test('empty extension lines and wrong predecessors are refused', (t) => {
  t.match(parseCheckpoint(extended('previous 3')), { size: 5, previous: 3 })
  t.match(parseCheckpoint(extended('something else')), { size: 5 })
  for (const lines of [[''], ['x', ''], ['previous 6'], ['previous 03'], ['previous']]) {
    const parsed = parseCheckpoint(extended(...lines))
    t.equal(lines[0] === 'previous' ? parsed?.previous : parsed, undefined, lines.join())
  }
  t.equal(parseCheckpoint(extended(...Array.from({ length: 17 }, () => 'x'))), undefined)
  t.end()
})

await t.test(
  'a note with more than 100 signatures or 1 000 000 characters is refused unread',
  async (t) => {
    const { publicKey, privateKey } = generateKeyPairSync('ed25519')
    const key = createNoteKey('o', publicKey)
    const note = await signNote('text\n', key, (bytes) => sign(null, bytes, privateKey))
    const line = `${note.trimEnd().split('\n').at(-1)!}\n`
    t.type(openNote(note + line.repeat(99), [key]), 'object')
    t.equal(openNote(note + line.repeat(100), [key]), 'malformed')
    const long = await signNote(`${'x'.repeat(1_000_000)}\n`, key, (bytes) =>
      sign(null, bytes, privateKey),
    )
    t.equal(openNote(long, [key]), 'malformed')
  },
)

await t.test('NUL in a filter or an id is a bad request, in files and in rows', async (t) => {
  const postgres = await usePostgres(t)
  for (const sql of [undefined, postgres === null ? undefined : createSqlClient(postgres.pool)]) {
    const app = await createApp(t, sql === undefined ? {} : { sql })
    await app.register(app.audit.routes, { prefix: '/audit', guard: () => true })
    await app.audit.record('thing.act', {})
    await app.audit.flush()
    const before = (await recordsOf(app)).length
    for (const name of ['principal', 'resourceId', 'requestId', 'tenant', 'ip', 'session']) {
      const reply = await app.inject(`/audit/events?${name}=a%00b`)
      t.equal(reply.statusCode, 400, name)
      t.equal(reply.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_INVALID_QUERY')
      const exported = await app.inject(`/audit/export?${name}=%00`)
      t.equal(exported.statusCode, 400)
    }
    t.equal((await recordsOf(app)).length, before, 'nothing was read')
    for (const id of ['a\u0000b', '']) {
      await t.rejects(app.audit.prove(id), { code: 'PARAPET_AUDIT_LOG_NOT_FOUND', statusCode: 404 })
    }
    await t.rejects(app.audit.reveal('\u0000'), {
      code: 'PARAPET_AUDIT_LOG_NOT_FOUND',
      statusCode: 404,
    })
  }
})

function raise(): never {
  throw new Error('raw')
}

/** A Proxy whose every trap throws. */
function hostile(): object {
  const traps = ['get', 'has', 'ownKeys', 'getPrototypeOf', 'getOwnPropertyDescriptor'] as const
  return new Proxy({}, Object.fromEntries(traps.map((trap) => [trap, raise])))
}

await t.test('a Proxy that throws is recorded as unreadable, and never escapes', async (t) => {
  const app = await createApp(t)
  const revoked = Proxy.revocable({}, {})
  revoked.revoke()
  await app.audit.record('thing.act', {
    data: { bad: hostile(), worse: revoked.proxy, list: [hostile()], good: 1 },
  })
  const [, record] = await recordsOf(app)
  t.same(record?.['data'], {
    bad: '[unreadable]',
    good: 1,
    list: ['[unreadable]'],
    worse: '[unreadable]',
  })
  for (const fields of [{ data: hostile() as never }, { changes: hostile() as never }]) {
    await t.rejects(app.audit.record('thing.act', fields), {
      code: 'PARAPET_AUDIT_LOG_INVALID_RECORD',
      statusCode: 500,
    })
  }
})

await t.test('the public key of the log is served behind the guard', async (t) => {
  const app = await createApp(t)
  let allowed = true
  await app.register(app.audit.routes, { prefix: '/audit', guard: () => allowed })
  const reply = await app.inject('/audit/key')
  t.equal(reply.statusCode, 200)
  t.equal(reply.body, `${app.audit.verifierKey}\n`)
  allowed = false
  const refused = await app.inject('/audit/key')
  t.equal(refused.statusCode, 403)
  t.equal(refused.json<{ code: string }>().code, 'PARAPET_AUDIT_LOG_FORBIDDEN')
})
