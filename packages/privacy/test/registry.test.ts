import { generateKeyPairSync } from 'node:crypto'
import { personal, privacy, renderRegister, type PrivacySource } from '@parapet/privacy'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'
import t, { type Test } from 'tap'
import { CONTROLLER, createApp, createTable, DAY, KEYS, post, SECRET, waitFor } from './helpers.ts'

async function boot(t: Test, options: object) {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(privacy, { ...base(), ...options } as never)
  await app.ready()
  return app
}

await t.test('a source without collect or erase, and other gaps, stop the boot', async (t) => {
  const { source } = createTable('users')
  const { collect: _c, ...noCollect } = source
  const { erase: _e, ...noErase } = source
  const { verifyErased: _v, ...noVerify } = source
  const cases: [PrivacySource, string][] = [
    [noCollect, 'no-collect'],
    [noErase, 'no-erase'],
    [noVerify, 'no-verify'],
    [{ ...source, fields: {} }, 'no-fields'],
    [{ ...source, fields: { phone: 'shred' } }, 'no-forget'],
  ]
  for (const [broken, rule] of cases) {
    await t.rejects(boot(t, { sources: [broken] }), {
      code: 'PARAPET_PRIVACY_UNSAFE',
      message: new RegExp(`users: .*\\(${rule}\\)`),
    })
    const app = await boot(t, { sources: [broken], lint: 'warn' })
    t.ok(
      app.privacy.lint().some((finding) => finding.rule === rule && finding.severity === 'error'),
    )
  }
})

await t.test('what is only retained, or only shredded, needs no erase', async (t) => {
  const { erase: _e, verifyErased: _v, ...source } = createTable('invoices').source
  const retained = { ...source, fields: { invoice: { retain: 'tax law' } } }
  const shredded = { ...source, name: 'phones', fields: { phone: 'shred' } } as const
  const app = await boot(t, { sources: [retained, shredded], forget: async () => undefined })
  t.same(
    app.privacy.lint().filter(({ severity }) => severity === 'error'),
    [],
  )
})

await t.test(
  'members that are marked as personal are listed, and must be registered',
  async (t) => {
    const email = personal(Type.String(), { category: 'user.contact.email' })
    const phone = personal(
      { ...Type.String(), 'x-encrypted': {} },
      { category: 'user.contact.phone' },
    )
    const schema = Type.Object({ email, note: Type.String() })
    const users = createTable('users', { schema }).source
    const artists = {
      name: 'artists',
      schema: Type.Object({ list: Type.Array(Type.Object({ phone })) }),
    }
    const app = await boot(t, { sources: [users], schemas: [artists], lint: 'warn' })
    t.match(app.privacy.inventory(), [
      {
        category: 'user.contact.email',
        source: 'users',
        field: 'email',
        storedIn: 'memory: users',
        encrypted: false,
        erasure: 'anonymise-email',
        registered: true,
      },
      {
        category: 'user.contact.phone',
        source: 'artists',
        field: 'list.phone',
        storedIn: null,
        encrypted: true,
        registered: false,
      },
    ])
    await t.rejects(boot(t, { sources: [users], schemas: [artists] }), {
      code: 'PARAPET_PRIVACY_UNSAFE',
      message: /the member "list\.phone" of the schema "artists" is personal/,
    })
  },
)

const mark = (name: string) => personal(Type.String(), { category: `user.${name}` })

await t.test('a mark is found wherever a schema may have it', async (t) => {
  const Address = { $id: 'Address', ...Type.Object({ street: mark('street') }) }
  const schema = {
    $defs: { Phone: { type: 'object', properties: { number: mark('phone') } } },
    type: 'object',
    properties: {
      settings: Type.Record(Type.String(), mark('setting')),
      extra: Type.Object({}, { additionalProperties: mark('extra') }),
      pair: Type.Tuple([mark('pair'), Type.Number()]),
      both: Type.Intersect([Type.Object({ one: mark('one') }), Type.Object({ two: mark('two') })]),
      home: Type.Ref('Address'),
      phone: { $ref: '#/$defs/Phone' },
      mobile: { $ref: 'Phone' },
      parent: { $ref: '#' },
      nothing: { $ref: '#/$defs/Missing' },
    },
    else: { properties: { late: mark('late') } },
  }
  const schemas = [
    { name: 'people', schema },
    { name: 'address', schema: Address },
    { name: 'words', schema: Type.Record(Type.String(), mark('word')) },
  ]
  const app = await boot(t, { sources: [], schemas, lint: 'warn' })
  const found = app.privacy.inventory().filter(({ foundIn }) => foundIn === 'people')
  const fields = new Set(
    found.map(({ field }) => field).filter((field) => !field.startsWith('parent')),
  )
  t.same([...fields].toSorted(), [
    'both.one',
    'both.two',
    'extra',
    'home.street',
    'late',
    'mobile.number',
    'pair',
    'phone.number',
    'settings',
  ])
  t.ok(found.length < 40, 'a recursive schema is searched once')
  t.match(app.privacy.inventory().at(-1), { foundIn: 'words', field: '*' })

  // Each names all others: there are more ways through them than could be searched.
  const names = Array.from({ length: 20 }, (_, n) => `S${n}`)
  const properties = Object.fromEntries(names.map((each) => [each, { $ref: each }]))
  const $defs = Object.fromEntries(names.map((each) => [each, { properties }]))
  await boot(t, { sources: [], schemas: [{ name: 'mesh', schema: { $defs, properties } }] })
})

await t.test('a source that is described wrongly is refused by name', async (t) => {
  const { source } = createTable('users')
  const wrong: [object, RegExp][] = [
    [{ ...source, name: 'Users' }, /needs a "name"/],
    [{ ...source, legalBasis: 'because' }, /needs a "legalBasis", one of consent, contract/],
    [{ ...source, purpose: '' }, /needs a "purpose"/],
    [{ ...source, retentionDays: 1.5 }, /needs "retentionDays"/],
    [{ ...source, storedIn: undefined }, /needs "storedIn"/],
    [{ ...source, categories: 'x' }, /needs "categories"/],
    [{ ...source, fields: { email: 'erase' } }, /unknown strategy for the field "email"/],
    [{ ...source, fields: null }, /needs "fields"/],
    [{ ...source, colect: () => [] }, /unknown member "colect"/],
    [null as never, /must be an object/],
  ]
  for (const [broken, message] of wrong) {
    await t.rejects(boot(t, { sources: [broken] }), {
      code: 'PARAPET_PRIVACY_INVALID_SOURCE',
      message,
    })
  }
  await t.rejects(boot(t, { sources: [source, source] }), { message: /registered already/ })
  const app = await boot(t, { sources: [source] })
  t.throws(() => app.privacy.source({ ...source, name: 'late' }), {
    message: /before the server is ready/,
  })
})

await t.test('the register of processing activities is made from the sources', async (t) => {
  const { send, app } = await createApp(t)
  const { status, body } = await send('officer', '/privacy/admin/register')
  t.equal(status, 200)
  t.match(body, {
    controller: { name: 'Acme' },
    activities: [
      { name: 'users', legalBasis: 'contract', retention: 'as long as the account' },
      { name: 'orders' },
      { name: 'privacy' },
    ],
  })
  const page = await send('officer', '/privacy/admin/register.md')
  t.match(page.headers['content-type'], 'text/markdown')
  t.match(page.raw.toString(), /\| users \| Keeping users \| contract \|/)
  const hostile = { ...app.privacy.register(), controller: { name: 'A | <b>', contact: 'x\ny' } }
  t.match(renderRegister(hostile), String.raw`A \| \<b\>, x y`)
  t.match(await send('officer', '/privacy/admin/inventory'), {
    body: { items: [], findings: [] },
  })
})

await t.test('a sweep removes what is too old, leaves what is held, and reports', async (t) => {
  const rows = [
    { subject: 'ann', at: 0 },
    { subject: 'bob', at: 0 },
    { subject: 'bob', at: Infinity },
  ]
  const { source } = createTable('logs', {
    retentionDays: 30,
    async sweep({ before, dryRun, isHeld }) {
      let [found, removed] = [0, 0]
      for (const row of rows.filter(({ at }) => at < before)) {
        found += 1
        if (dryRun || (await isHeld(row.subject))) continue
        rows.splice(rows.indexOf(row), 1)
        removed += 1
      }
      return { found, removed }
    },
  })
  const broken = createTable('broken', {
    retentionDays: 1,
    sweep: async () => Promise.reject(new TypeError('x')),
  })
  const app = await createApp(t, { sources: [source, broken.source] })
  await app.app.privacy.holds.place({ subject: 'ann', reason: 'r', basis: 'b' })
  const sweep = (dryRun: boolean) => app.send('officer', post('/privacy/admin/sweeps', { dryRun }))
  const before = app.clock.now() - 30 * DAY
  t.match(await sweep(true), {
    status: 200,
    body: {
      dryRun: true,
      sources: [
        { source: 'logs', before, found: 2, removed: 0 },
        { source: 'broken', error: 'TypeError' },
        { source: 'privacy', found: 0 },
      ],
    },
  })
  t.equal(rows.length, 3)
  t.match(await sweep(false), { body: { sources: [{ found: 2, removed: 1 }, {}, {}] } })
  t.same(
    rows.map(({ subject }) => subject),
    ['ann', 'bob'],
  )
  t.equal((await app.send('officer', '/privacy/admin/sweeps')).body.items.length, 2)
  t.match(app.events.at(-3), {
    type: 'privacy.swept',
    details: { source: 'logs', removed: 1, dryRun: false },
  })
})

await t.test(
  'an option that is unknown, missing or contradicts another stops the boot',
  async (t) => {
    const refused: [object, RegExp][] = [
      [{ secret: 'short' }, /"secret" must be base64url of at least 32 bytes/],
      [{ keys: 'x' }, /"keys" must be written as id:base64url/],
      [{ keys: undefined }, /"keys" must be given, or "cipher"/],
      [{ deliver: undefined }, /"deliver" or "stepUp" must be given/],
      [{ verify: { access: 'step-up' } }, /"verify" needs the option "stepUp"/],
      [
        { deliver: undefined, stepUp: () => true, verify: { access: 'both' } },
        /needs the option "deliver"/,
      ],
      [{ processor: [] }, /did you mean "processors"/],
      [
        { processors: [{ name: 'crm', url: 'http://crm.example', secret: 'x'.repeat(32) }] },
        /must begin with https:/,
      ],
      [
        {
          processors: [1, 2].map(() => ({
            name: 'a',
            url: 'https://a.example',
            secret: 'x'.repeat(32),
          })),
        },
        /different names/,
      ],
      [
        {
          signingKey: generateKeyPairSync('x25519').privateKey.export({
            type: 'pkcs8',
            format: 'pem',
          }),
        },
        /must be an Ed25519/,
      ],
      [{ approve: ['everything'] }, /must be one of/],
    ]
    for (const [options, message] of refused) {
      await t.rejects(boot(t, options), { code: 'PARAPET_PRIVACY_INVALID_OPTION', message })
    }
    const pem = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' })
    const app = await boot(t, { signingKey: pem })
    t.match(app.privacy.publicKey, { kty: 'OKP', crv: 'Ed25519' })
  },
)

await t.test('a port that hangs is given up, and what it throws refuses', async (t) => {
  const { send } = await createApp(t, {
    stepUp: async () => Promise.reject(Object.assign(new Error('prove it'), { statusCode: 403 })),
  })
  t.equal((await send('ann', post('/privacy/requests', { type: 'erasure' }))).status, 403)
  const hanging = await createApp(t, { stepUp: () => new Promise<boolean>(() => undefined) })
  const asked = hanging.send('ann', post('/privacy/requests', { type: 'erasure' }))
  const answered: number[] = []
  void asked.then(({ status }) => answered.push(status))
  await waitFor(() => {
    hanging.clock.advance(1000)
    return answered.length > 0
  })
  t.same(answered, [503])
})

function base() {
  return { controller: CONTROLLER, secret: SECRET, keys: KEYS, deliver: async () => undefined }
}
