import {
  compileEnvironment,
  loadEnvFiles,
  renderEnvExample,
  renderEnvTable,
  renderJsonSchema,
  requireTogether,
  requireWhen,
  type Secret,
  secretText,
} from '@parapet/secrets'
import { Type } from '@sinclair/typebox'
import { parseEnv } from 'node:util'
import fc from 'fast-check'
import t from 'tap'

const schema = Type.Object({
  MODE: Type.Union([Type.Literal('development'), Type.Literal('production')], {
    default: 'development',
    description: 'Where the service runs.',
  }),
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 3000, description: 'TCP port.' }),
  RATIO: Type.Optional(Type.Number({ minimum: 0, maximum: 1 })),
  DEBUG: Type.Boolean({ default: false }),
  HOSTS: Type.Optional(Type.Array(Type.String({ maxLength: 20 }), { maxItems: 3 })),
  NAME: Type.String({
    minLength: 3,
    maxLength: 10,
    pattern: '^[a-z]+$',
    form: 'lower-case letters',
  }),
  DATABASE_URL: secretText({
    format: 'uri',
    protocols: ['postgres:', 'postgresql:'],
    description: 'The database | with its password.',
  }),
  API_KEY: Type.Optional(secretText({ minLength: 16 })),
  ADMIN_EMAIL: Type.Optional(Type.String({ format: 'email' })),
  ADMIN_PASSWORD: Type.Optional(secretText({ minLength: 12 })),
  LEVEL: Type.Optional(Type.Unsafe<1 | 2>({ enum: [1, 2] })),
})
const environment = compileEnvironment(schema, {
  rules: [
    requireTogether('ADMIN_EMAIL', 'ADMIN_PASSWORD'),
    requireWhen(({ MODE }) => MODE === 'production', 'MODE is production', 'API_KEY'),
  ],
})
const least = { NAME: 'app', DATABASE_URL: 'postgres://u:pw@db/app' }
const code = 'PARAPET_SECRETS_INVALID_ENVIRONMENT'

await t.test(
  'values have their types, defaults are filled in, and secrets are opaque',
  async (t) => {
    const values = environment.read({ ...least, PORT: '', UNUSED: 'x' })
    const port: number = values.PORT
    const mode: 'development' | 'production' = values.MODE
    const url: Secret = values.DATABASE_URL
    t.same(
      [port, mode, values.DEBUG, values.HOSTS, values.API_KEY],
      [3000, 'development', false, undefined, undefined],
    )
    t.equal(
      url.use((text) => text),
      least.DATABASE_URL,
    )
    t.ok(Object.isFrozen(values))
    const all = environment.read({
      ...least,
      MODE: 'production',
      PORT: '0',
      RATIO: '0.5',
      DEBUG: 'Yes',
      HOSTS: 'a, b,c',
      API_KEY: 'k'.repeat(16),
      ADMIN_EMAIL: 'a@example.org',
      ADMIN_PASSWORD: 'p'.repeat(12),
      LEVEL: '2',
    })
    t.same(
      [all.PORT, all.RATIO, all.DEBUG, all.HOSTS, all.LEVEL],
      [0, 0.5, true, ['a', 'b', 'c'], 2],
    )
  },
)

await t.test('one error lists every fault by name, and no value', async (t) => {
  const wrong = {
    MODE: 'hunter2',
    PORT: '70000',
    RATIO: '2',
    DEBUG: 'hunter2',
    HOSTS: 'a,hunter2hunter2hunter2hunter2',
    NAME: 'HUNTER2',
    DATABASE_URL: 'mysql://hunter2@db',
    API_KEY: 'hunter2',
    ADMIN_EMAIL: 'hunter2',
    LEVEL: '3',
  }
  const error = await Promise.resolve()
    .then(() => environment.read(wrong))
    .catch((failure: Error) => failure)
  t.match(error, { code })
  const lines = (error as Error).message.split('\n').slice(1)
  t.same(lines, [
    '  "MODE" must be one of "development", "production"',
    '  "PORT" must be an integer from 0 to 65535',
    '  "RATIO" must be a number from 0 to 1',
    '  "DEBUG" must be "true" or "false"',
    '  "HOSTS" item 2 must have 1 to 20 characters, got 28',
    '  "NAME" must be lower-case letters',
    '  "DATABASE_URL" must be a URL that starts with postgres:// or postgresql://',
    '  "API_KEY" must have at least 16 characters, got 7',
    '  "ADMIN_EMAIL" must be an e-mail address',
    '  "LEVEL" must be one of "1", "2"',
  ])
  t.notMatch((error as Error).message, /hunter2/i)
  t.throws(() => environment.read({}), {
    message: /"NAME" is required\n {2}"DATABASE_URL" is required/,
  })
})

await t.test('requirements that depend on other variables', async (t) => {
  t.throws(() => environment.read({ ...least, ADMIN_EMAIL: 'a@example.org' }), {
    code,
    message: /"ADMIN_PASSWORD" must be set together with ADMIN_EMAIL/,
  })
  t.throws(() => environment.read({ ...least, MODE: 'production' }), {
    message: /"API_KEY" must be set when MODE is production/,
  })
  const strict = compileEnvironment(Type.Object({ APP_PORT: Type.Integer() }), { prefix: 'APP_' })
  t.throws(() => strict.read({ APP_PORT: '1', APP_PROT: '2', OTHER: 'x' }), {
    message: /"APP_PROT" is unknown, known are APP_PORT$/,
  })
})

await t.test('a schema that no text can have is refused at once', async (t) => {
  const wrong = {
    object: Type.Object({}),
    format: Type.String({ format: 'ipv4' }),
    pattern: Type.String({ pattern: '(' }),
    mixed: Type.Union([Type.Literal('a'), Type.Integer()]),
    secret: Type.Integer({ secret: true }),
    'secret default': Type.String({ secret: true, default: 'x' }),
    null: Type.Null(),
  }
  for (const [name, variable] of Object.entries(wrong)) {
    t.throws(
      () => compileEnvironment(Type.Object({ A: variable })),
      { code: 'PARAPET_SECRETS_INVALID_SCHEMA' },
      name,
    )
  }
})

await t.test('numbers are plain decimal numbers, and read as they are written', async (t) => {
  const numbers = compileEnvironment(
    Type.Object({
      I: Type.Optional(Type.Integer()),
      N: Type.Optional(Type.Number({ minimum: -1e6 })),
    }),
  )
  for (const I of ['1e3', '0x10', ' 1', '1.0', '+1', 'NaN', '９', '9007199254740993']) {
    t.throws(() => numbers.read({ I }), { code }, I)
  }
  for (const N of ['1e309', 'Infinity', '.5', '1.', '-'])
    t.throws(() => numbers.read({ N }), { code }, N)
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => numbers.read({ I: String(value) }).I === value),
    { numRuns: 50 },
  )
})

await t.test('files are layered, and the process wins', async (t) => {
  const directory = t.testdir({
    '.env': 'A=base\nB=base\nC=base\nD=base\nQUOTED="two\nlines"',
    '.env.production': 'B=production\nC=production',
    '.env.local': 'C=local',
    '.env.production.local': 'E=last',
  })
  const variables = { D: 'process', A: '', NODE_ENV: 'production' }
  const merged = await loadEnvFiles({ directory, variables })
  t.same(merged, {
    A: 'base',
    B: 'production',
    C: 'local',
    D: 'process',
    E: 'last',
    QUOTED: 'two\nlines',
    NODE_ENV: 'production',
  })
  const testing = await loadEnvFiles({ directory, variables: {}, environment: 'test' })
  t.equal(testing['C'], 'base', 'a test does not read .env.local')
  const strange = await loadEnvFiles({ directory, variables: {}, environment: '../../etc' })
  t.equal(strange['C'], 'local')
  t.same(await loadEnvFiles({ directory: `${directory}/none`, variables: {} }), {})
  const unreadable = t.testdir({ '.env': {} })
  await t.rejects(loadEnvFiles({ directory: unreadable, variables: {} }), {
    code: 'PARAPET_SECRETS_FILE_UNREADABLE',
    message: /EISDIR/,
  })
})

await t.test('the example file is read back as the defaults; it has no secret', async (t) => {
  const example = renderEnvExample(environment)
  t.match(example, /^# Rules:\n# - ADMIN_EMAIL, ADMIN_PASSWORD are set together or not at all\.\n/)
  t.match(example, /# TCP port\.\n# Integer from 0 to 65535\n# PORT=3000\n/)
  t.match(example, /# The database \| with its password\.\n# Secret, required\nDATABASE_URL=\n/)
  const uncommented = parseEnv(example.replaceAll(/^# ([A-Z_]+=)/gm, '$1'))
  t.same(Object.keys(uncommented).toSorted(), Object.keys(schema.properties).toSorted())
  const read = environment.read({ ...uncommented, ...least })
  t.same([read.PORT, read.MODE, read.DEBUG], [3000, 'development', false])
})

await t.test('a default with quotes is read back as it is', (t) => {
  const text = fc.string({
    unit: fc.constantFrom('a', "'", '"', '#', ' ', '$', '\\', 'n'),
    minLength: 1,
  })
  fc.assert(
    fc.property(text, (value) => {
      const example = renderEnvExample(
        compileEnvironment(Type.Object({ A: Type.String({ default: value }) })),
      )
      return parseEnv(example.replace('# A=', 'A='))['A'] === value
    }),
  )
  const all = Type.Object({ A: Type.String({ default: `'"\`` }) })
  t.match(renderEnvExample(compileEnvironment(all)), /# A=\n/, 'no quotes are left')
  t.end()
})

await t.test('no text of a description or a default begins a variable of its own', (t) => {
  const text = 'two\n\nEVIL=1\r\nEVIL=2'
  const texts = compileEnvironment(
    Type.Object({
      A: Type.String({ description: text, default: text }),
      B: Type.Optional(Type.String({ description: text, examples: [text] })),
      C: Type.String({ description: 'a | b', default: 'a|b' }),
    }),
    { rules: [requireWhen(() => false, text, 'A')] },
  )
  t.same({ ...parseEnv(renderEnvExample(texts)) }, {})
  const rows = renderEnvTable(texts).split('\n')
  t.equal(rows.length, 5)
  t.equal(rows.at(-1), '| `C` | `a\\|b` | a \\| b |')
  t.end()
})

await t.test('a default that its own schema refuses is a mistake', (t) => {
  const refused = { code: 'PARAPET_SECRETS_INVALID_SCHEMA', message: /its default must / }
  for (const wrong of [
    Type.Integer({ default: 70_000, maximum: 65_535 }),
    Type.Boolean({ default: 'maybe' }),
    Type.Union([Type.Literal('a'), Type.Literal('b')], { default: 'c' }),
    Type.String({ default: 'nowhere', format: 'uri' }),
    Type.Array(Type.Integer({ minimum: 1 }), { default: [1, 0] }),
  ]) {
    const schema = Type.Object({ A: wrong })
    const message = wrong.type === 'array' ? /its default item 2 must / : refused.message
    t.throws(() => compileEnvironment(schema), { ...refused, message }, JSON.stringify(wrong))
  }
  const empty = Type.Object({
    A: Type.String({ default: '' }),
    B: Type.Array(Type.String(), { default: [] }),
  })
  t.same(compileEnvironment(empty).read({}), { A: '', B: [] }, 'nothing is a default')
  t.end()
})

await t.test('the JSON Schema accepts the texts that are read', (t) => {
  const { properties } = renderJsonSchema(environment) as {
    properties: Record<string, { pattern?: string }>
  }
  const accepts = (name: string, text: string) =>
    new RegExp(properties[name]!.pattern!, 'u').test(text)
  const reads = (name: string, text: string) => {
    try {
      return environment.read({ ...least, [name]: text }) !== undefined
    } catch {
      return false
    }
  }
  for (const [name, text] of [
    ['PORT', '80'],
    ['PORT', '8e1'],
    ['PORT', ' 80'],
    ['RATIO', '0.5'],
    ['RATIO', '.5'],
    ['DEBUG', 'TRUE'],
    ['DEBUG', 'oN'],
    ['DEBUG', 'maybe'],
  ] as const) {
    t.equal(accepts(name, text), reads(name, text), `${name}=${text}`)
  }
  t.match(properties['PORT'], { 'x-read-as': { type: 'integer', minimum: 0, maximum: 65_535 } })
  t.end()
})

await t.test('the JSON Schema and the table describe the same variables', async (t) => {
  const document = renderJsonSchema(environment) as {
    properties: Record<string, object>
    required: string[]
  }
  t.same(Object.keys(document.properties), Object.keys(schema.properties))
  t.same(document.required, ['NAME', 'DATABASE_URL'])
  t.match(document.properties['DATABASE_URL'], { type: 'string', writeOnly: true, format: 'uri' })
  t.match(document.properties['MODE'], {
    enum: ['development', 'production'],
    default: 'development',
  })
  const table = renderEnvTable(environment)
  t.match(table, '| `PORT` | `3000` | TCP port. |')
  t.match(table, '| `NAME` | required |  |')
  t.match(table, '| `DATABASE_URL` | required | The database \\| with its password. |')
  t.equal(table.split('\n').length, 2 + Object.keys(schema.properties).length)
})

await t.test('each item of a list of secrets is a secret', (t) => {
  const list = compileEnvironment(Type.Object({ KEYS: Type.Array(secretText({ minLength: 3 })) }))
  const { KEYS } = list.read({ KEYS: 'one1,two2' })
  t.same(
    KEYS.map((key) => key.use((text) => text)),
    ['one1', 'two2'],
  )
  t.equal(JSON.stringify(KEYS), '["[secret]","[secret]"]')
  t.throws(() => list.read({ KEYS: 'one1,x' }), { message: /item 2 must have at least 3/ })
  t.match(renderEnvExample(list), /Secrets, separated by commas, required\nKEYS=\n/)
  t.match(renderJsonSchema(list), { properties: { KEYS: { writeOnly: true } } })
  const invalid = { code: 'PARAPET_SECRETS_INVALID_SCHEMA' }
  for (const schema of [
    Type.Array(secretText(), { default: ['x'] }),
    Type.Array(Type.Unsafe<Secret>({ ...secretText(), default: 'x' })),
  ]) {
    t.throws(() => compileEnvironment(Type.Object({ KEYS: schema })), invalid)
  }
  t.end()
})

await t.test('faults of single variables and of rules are listed together', (t) => {
  const rules = compileEnvironment(
    Type.Object({
      PORT: Type.Integer(),
      A: Type.Optional(Type.String()),
      B: Type.Optional(Type.String()),
    }),
    { rules: [requireTogether('A', 'B')] },
  )
  t.throws(() => rules.read({ PORT: 'x', A: 'a' }), { message: /"PORT" must[^]*"B" must be set/ })
  t.end()
})
