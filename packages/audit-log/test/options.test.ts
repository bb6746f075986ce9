import { auditLog } from '@parapet/audit-log'
import Fastify from 'fastify'
import t from 'tap'
import { createKeys, ORIGIN, useFolder } from './support.ts'
import { vkeyOf } from './witness-server.ts'

// Two keys of the same bytes: one of a witness, one of a log.
const RAW = Buffer.alloc(32, 7)
const WITNESS = vkeyOf('w.example', 4, RAW)
const LOG = vkeyOf('w.example', 1, RAW)

await t.test('an unknown, mistyped or contradictory option stops the boot', async (t) => {
  const sink = { name: 'x', deliver: async () => {} }
  const refused: readonly [object, RegExp][] = [
    [{ origin: undefined }, /origin/],
    [{ origin: 'https://example.org' }, /no scheme/],
    [{ origin: 'a b' }, /no whitespace/],
    [{ orgin: 'x' }, /did you mean "origin"/],
    [{ hashKey: Buffer.alloc(16) }, /at least 32 bytes/],
    [{ cipher: createKeys().cipher }, /"hashKey" must be set/],
    [{ fields: { ip: 'pii' } }, /"cipher" must be set/],
    [{ fields: { ip: 'hmac' } }, /"hashKey" must be set/],
    [{ fields: { ip: 'hide' } }, /fields.ip/],
    [{ sinks: [sink, sink] }, /different names/],
    [{ sinks: [{ name: '../x', deliver: async () => {} }] }, /must be a sink/],
    [{ actions: { Bad: {} } }, /must have names like/],
    [{ actions: { 'audit_log.x': {} } }, /must have names like/],
    [{ actions: { 'a.b': { durable: true } } }, /unknown member "durable" in "a.b"/],
    [{ actions: { 'a.b': { durability: 'yes' } } }, /must have one of durable, deferred/],
    [{ actions: { 'a.b': { data: { x: 'date' } } } }, /unknown field type "date"/],
    [{ actions: 5 }, /one definition per action/],
    [{ alerts: [{ name: 'a' }] }, /windowMs/],
    [{ key: 'pem' }, /"key" must be/],
    [{ spool: { maxBytes: 5 } }, /spool.maxBytes/],
    [{ witness: { url: 'https://w.example' } }, /"witness" must have both/],
    [{ witness: { url: 'w.example', key: WITNESS } }, /witness.url/],
    [{ witness: { url: 'https://w.example', key: LOG } }, /witness.key.*0x04/],
    [{ retention: { days: -1 } }, /retention.days/],
  ]
  for (const [options, message] of refused) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(auditLog, { origin: ORIGIN, directory: useFolder(t), ...options })
      },
      { code: 'PARAPET_AUDIT_LOG_INVALID_OPTION', statusCode: 500, message },
    )
  }
})
