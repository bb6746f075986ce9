import { createCipheriv, randomBytes, scryptSync } from 'node:crypto'
import {
  createJsonImporter,
  createLocalProvider,
  createMemoryKeyStore,
  Encrypted,
  fieldEncryption,
} from '@parapet/field-encryption'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { code, keyset } from './fixtures.ts'

async function build(t: Test) {
  const app = Fastify()
  t.after(() => app.close())
  const provider = createLocalProvider({ keyset })
  await app.register(fieldEncryption, { provider, keyStore: createMemoryKeyStore() })
  return { service: app.fieldEncryption }
}

const Note = Type.Object({
  id: Type.String(),
  text: Encrypted(Type.String()),
  n: Encrypted(Type.Integer()),
})

await t.test(
  're-encryption resumes from its cursor, and keeps rows that it cannot read',
  async (t) => {
    const { service } = await build(t)
    const notes = service.table('notes', Note)
    const rows = new Map<string, Record<string, unknown>>()
    const source = {
      read: async (cursor: string | null, limit: number) =>
        [...rows.values()]
          .filter(({ id }) => cursor === null || String(id) > cursor)
          .slice(0, limit),
      cursorOf: (row: Readonly<Record<string, unknown>>) => String(row['id']),
      write: async (before: object, after: object) => {
        const { id } = before as { id: string }
        if (rows.get(id) !== before) return false
        rows.set(id, after as Record<string, unknown>)
        return true
      },
    }
    for (const id of ['a', 'b', 'c', 'd'])
      rows.set(id, await notes.encryptRecord({ id, text: id, n: 1 }))
    const { primaryKeyId } = await service.rotate()
    const signal = AbortSignal.abort()
    const first = await notes.reencrypt({ source, batchRows: 2, signal })
    t.match(first, { cursor: 'b', read: 2, rewritten: 2, done: false })
    const { cursor } = first
    t.match(await notes.reencrypt({ source, cursor }), { cursor: 'd', read: 2, rewritten: 2 })
    t.match(
      await notes.reencrypt({ source }),
      { read: 4, rewritten: 0 },
      'a second run changes nothing',
    )
    t.same([...(await notes.status({ source })).byKeyId], [[primaryKeyId, 8]])

    const next = service.table('notes', Note, { version: 2, readVersions: [1] })
    t.match(
      await next.reencrypt({ source }),
      { rewritten: 4 },
      'rows of an older schema version are rewritten',
    )
    t.match(await next.reencrypt({ source }), { rewritten: 0 })
    await t.rejects(notes.decryptRecord(rows.get('a')!), code('OPEN_FAILED'))
    const back = service.table('notes', Note, { version: 1, readVersions: [2] })
    await back.reencrypt({ source })

    const broken = { ...rows.get('b'), text: `${String(rows.get('b')!['text']).slice(0, -4)}AAAA` }
    rows.set('b', broken)
    rows.set('c', { id: 'c', text: 'still plaintext', n: 7 })
    t.match(await notes.status({ source }), { plaintext: 2, staleRows: 1, safeToDestroy: [] })
    t.match(await notes.reencrypt({ source }), {
      rewritten: 0,
      failed: [{ cursor: 'c', code: 'PARAPET_FIELD_ENCRYPTION_PLAINTEXT_FOUND' }],
    })
    t.match(await notes.reencrypt({ source, adoptPlaintext: true }), {
      rewritten: 1,
      failed: [],
    })
    t.match(await notes.decryptRecord(rows.get('c')!), { text: 'still plaintext', n: 7 })
    t.equal(rows.get('b'), broken, 'a row that cannot be read is kept')
    const torn = { ...rows.get('a'), text: String(rows.get('a')!['text']).slice(0, 30) }
    rows.set('a', torn)
    const adopted = await notes.reencrypt({ source, adoptPlaintext: true })
    t.match(
      adopted,
      { rewritten: 0, failed: [{ cursor: 'a' }] },
      'a truncated ciphertext is not adopted as plaintext',
    )
    t.equal(rows.get('a'), torn)
  },
)

await t.test('JSON values of another library are imported, and damaged ones are not', async (t) => {
  const { service } = await build(t)
  const notes = service.table('notes', Note)
  const passphrase = 'an old master key'
  const seal = (plain: string) => {
    const [salt, iv] = [randomBytes(32), randomBytes(16)]
    const cipher = createCipheriv('aes-256-gcm', scryptSync(passphrase, salt, 32), iv)
    const encrypted = Buffer.concat([cipher.update(plain), cipher.final()]).toString('hex')
    const authTag = cipher.getAuthTag().toString('hex')
    return { encrypted, authTag, iv: iv.toString('hex'), salt: salt.toString('hex') }
  }
  const old = { id: '1', text: JSON.stringify(seal('ünïcode')), n: JSON.stringify(seal('42')) }
  let row: Record<string, unknown> = old
  const source = {
    read: async (cursor: string | null) => (cursor === null ? [row] : []),
    cursorOf: () => '1',
    write: async (_: object, after: object) => {
      row = after as Record<string, unknown>
      return true
    },
  }
  const importer = createJsonImporter({ passphrase })
  t.match(await notes.reencrypt({ source, importer }), { rewritten: 1, failed: [] })
  t.match(row, { text: /^pe1\./, n: /^pe1\./ })
  t.match(await notes.decryptRecord(row), { text: 'ünïcode', n: 42 })
  const damaged = { ...seal('x'), authTag: '00'.repeat(16) }
  row = { id: '1', text: JSON.stringify(damaged), n: row['n'] }
  t.match(await notes.reencrypt({ source, importer }), { rewritten: 0, failed: [{ cursor: '1' }] })
  await t.rejects(importer.open('{}'), code('OPEN_FAILED'))
  const odd = [
    '',
    'text',
    'null',
    '[]',
    '{"encrypted":1}',
    JSON.stringify({ ...damaged, iv: 'zz' }),
    JSON.stringify({ ...damaged, authTag: '0000' }),
  ]
  for (const text of odd) t.equal(importer.recognises(text), false, text.slice(0, 20))
  t.equal(createJsonImporter({ passphrase, encoding: 'base64' }).recognises('{}'), false)
})
