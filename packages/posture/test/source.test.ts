/** The scanner: what is certain, what a person must look at, and what raises no alarm. */
import t from 'tap'
import { loadParser, scanFunction, scanText } from '../src/source/scan.ts'
import { isExponential } from '../src/source/pattern-ambiguity.ts'
import { findWeakness, isSecretName, looksLikeValue, nameLeak } from '../src/source/secret-texts.ts'

const parse = await loadParser()

/** The rules that are certain of a text, and with `?` those that ask for a review. */
function rulesOf(text: string): string[] {
  const hits = scanText(parse, 'a.ts', text) ?? []
  return [
    ...new Set(hits.map(({ rule, certainty }) => (certainty === 'sure' ? rule : `${rule}?`))),
  ].toSorted()
}

/** A handler with a body. */
const inHandler = (body: string) => `app.get('/', async (request, reply) => { ${body} })`

const FOUND: readonly (readonly [rule: string, text: string])[] = [
  ['sql', inHandler('return db.query(`SELECT * FROM a WHERE id = ${request.params.id}`)')],
  [
    'sql',
    inHandler(
      'const { id } = request.query; const s = "DELETE FROM a WHERE id = " + id; return db.query(s)',
    ),
  ],
  [
    'sql',
    'const h = ({ params: { id } }) => db.query(`UPDATE a SET b = 1 WHERE id = ${id.trim()}`)',
  ],
  [
    'sql',
    inHandler(
      'for (const id of request.body.ids) await db.query(`DELETE FROM a WHERE id = ${id}`)',
    ),
  ],
  [
    'sql',
    inHandler(
      'await Promise.all(request.body.ids.map((id) => db.query(`DELETE FROM a WHERE id = ${id}`)))',
    ),
  ],
  ['command', inHandler("require('child_process').exec('ls ' + request.query.path)")],
  [
    'command',
    "import { spawn } from 'node:child_process'; const h = (req) => spawn(req.body.cmd, [], { shell: true })",
  ],
  ['code', inHandler('return eval(request.body.code)')],
  ['code', "const f = new Function('a', text)"],
  ['code', inHandler('return vm.runInNewContext(request.body.code)')],
  ['path', inHandler('return fs.readFile(path.join(root, request.params.name))')],
  ['path', inHandler('return createReadStream(`./files/${request.query.name}`)')],
  ['filter', inHandler('return users.findOne(request.body)')],
  ['filter', inHandler('return users.find({ $where: request.query.q })')],
  ['filter-member', inHandler('return users.findOne({ name: request.body.name })')],
  ['filter-member', inHandler('const { name } = request.body; return users.findOne({ name })')],
  ['change', inHandler("fs.writeFileSync('visits', '1')")],
  ['hard-coded-secret', "app.register(jwt, { secret: Buffer.from('c0ffee11', 'hex') })"],
  ['hard-coded-secret', "app.register(cookie, { secret: ['new-Key-91', 'old-Key-90'] })"],
  ['hard-coded-secret', "const jwtSecret = config.jwt || 'k3yb0ard-91'"],
  ['hard-coded-secret', "const jwtSecret = isLocal ? 'k3yb0ard-91' : config.jwt"],
  ['hard-coded-secret', "fetch(url, { headers: { 'x-api-key': 'k3yb0ard-91' } })"],
  ['hard-coded-secret', "const sessionKey = '9f86d081884c7d659a2feaa0c55ad015'"],
  [
    'hard-coded-secret',
    inHandler("if (request.headers['x-api-key'] !== 'k3yb0ard-91') throw refused()"),
  ],
  ['hard-coded-secret', inHandler("return 'Bearer k3yb0ard-91' === request.headers.authorization")],
  ['secret-default', "const key = process.env.SESSION_KEY || '9f86d081884c7d659a2feaa0c55ad015'"],
  ['ssrf', inHandler('return fetch(request.query.url)')],
  ['ssrf', inHandler("return axios.get('http://' + request.query.host + '/x')")],
  ['redirect', inHandler('return reply.redirect(request.query.next)')],
  ['redirect', inHandler('return reply.redirect(302, `${request.query.next}`)')],
  ['pattern', inHandler('return new RegExp(request.query.q).test(x)')],
  ['pattern', 'const bad = /^(a+)+$/'],
  ['deserialization', "const s = require('node-serialize')"],
  ['markup', inHandler("reply.type('text/html'); return `<p>${request.query.q}</p>`")],
  ['prototype', inHandler('return _.merge({}, request.body)')],
  ['mass-assignment', inHandler('return db.users.create({ ...request.body })')],
  ['mass-assignment', inHandler('return Object.assign(user, request.body)')],
  [
    'weak-password-hash',
    "const h = (password) => createHash('sha256').update(password).digest('hex')",
  ],
  ['weak-password-hash', 'const h = bcrypt.hash(text, 4)'],
  ['plain-password', inHandler('if (user.password === request.body.password) return token()')],
  ['weak-cipher', "createCipheriv('aes-256-cbc', key, iv)"],
  ['weak-cipher', "createCipheriv('aes-256-gcm', key, Buffer.alloc(12))"],
  ['weak-random', 'const resetToken = Math.random().toString(36)'],
  ['unverified-tls', 'const agent = new Agent({ rejectUnauthorized: false })'],
  ['unverified-tls', "process.env.NODE_TLS_REJECT_UNAUTHORIZED = '0'"],
  ['old-tls', "createServer({ minVersion: 'TLSv1' })"],
  ['unverified-token', "jwt.verify(token, key, { algorithms: ['HS256', 'none'] })"],
  [
    'unverified-token',
    inHandler('const user = jwt.decode(request.headers.authorization); return user'),
  ],
  ['token-without-expiry', 'const token = jwt.sign({ id }, key)'],
  [
    'plain-comparison',
    inHandler("if (request.headers['x-api-key'] === process.env.API_KEY) return 1"),
  ],
  ['hard-coded-secret', "const jwtSecret = 'k3yb0ard-91'"],
  ['hard-coded-secret', `const key = '${['sk', 'live', '4eC39HqLyjWDarjtT1zdp7dc'].join('_')}'`],
  ['hard-coded-secret', "createHmac('sha256', 'a fixed key')"],
  ['secret-default', "const s = process.env.JWT_SECRET || 'changeme'"],
  ['secret-default', "const u = process.env.DATABASE_URL ?? 'postgres://app:app@db/app'"],
  ['logged-secret', inHandler("request.log.info({ body: request.body }, 'in')")],
  ['logged-secret', inHandler('console.log(`login ${request.body.password}`)')],
  ['logged-secret', inHandler('console.log(JSON.stringify(request.headers))')],
  ['sent-environment', inHandler('return { env: process.env }')],
  ['sent-stack', 'app.setErrorHandler((err, req, reply) => reply.send({ stack: err.stack }))'],
  ['sent-message', 'const h = (e, reply) => reply.code(500).send({ error: e.message })'],
  ['credential-in-address', inHandler('return find(request.query.api_key)')],
  [
    'credential-in-address',
    inHandler('const { token, password } = request.query as { password: string }'),
  ],
  ['weak-random', 'class A { otpCode() { return Math.floor(Math.random() * 1e6) } }'],
  [
    'hard-coded-secret',
    "app.register(session, { secret: 'this-is-a-very-long-secret-that-i-typed' })",
  ],
  ['cookie-insecure', inHandler("reply.setCookie('sid', id)")],
  ['cookie-script', inHandler("reply.setCookie('sid', id, { secure: true, sameSite: 'lax' })")],
  ['cookie-site', "app.register(session, { cookie: { secure: true, sameSite: 'none' } })"],
  ['forwarded-header', inHandler("return request.headers['x-forwarded-for'].split(',')[0]")],
  ['method-override', "const m = req.headers['x-http-method-override']"],
  ['dotfiles', "app.register(files, { root, dotfiles: 'allow' })"],
  ['listing', 'app.register(files, { root, list: true })'],
  ['plain-http', "fetch('http://partner.example.net/orders')"],
]

for (const [rule, text] of FOUND) {
  await t.test(`${rule} is found in: ${text}`, async (t) => {
    t.ok(rulesOf(text).includes(rule), `found: ${rulesOf(text).join(', ')}`)
  })
}

/** Code of careful authors: no rule may be certain of anything in it. */
const FINE: readonly string[] = [
  inHandler("return db.query('SELECT * FROM a WHERE id = $1', [request.params.id])"),
  inHandler('return sql`SELECT * FROM a WHERE id = ${request.params.id}`'),
  inHandler(
    'const id = Number(request.params.id); return db.query(`SELECT * FROM a WHERE id = ${id}`)',
  ),
  inHandler(
    'const sort = COLUMNS[request.query.sort]; return db.query(`SELECT * FROM a ORDER BY ${sort}`)',
  ),
  inHandler(
    'const user = await find(request.params.id); return db.query(`SELECT * FROM a WHERE b = ${user.id}`)',
  ),
  'const message = `Select an item from the list ${name}`',
  inHandler('return /^(\\w+)$/.exec(request.query.q)'),
  "import { execFile } from 'node:child_process'; execFile('git', ['log', name])",
  inHandler('return fs.readFile(path.join(root, path.basename(request.params.name)))'),
  inHandler('return users.find((user) => user.id === request.params.id)'),
  inHandler('return fetch(`https://api.example.com/items/${request.params.id}`)'),
  inHandler('return app.inputGuard.fetch(request.query.url)'),
  inHandler('return reply.redirect(`/items/${request.params.id}`)'),
  inHandler("reply.type('text/html'); return `<p>${escapeHtml(request.query.q)}</p>`"),
  inHandler('const { title } = request.body; return db.create({ title })'),
  "const etag = createHash('sha256').update(body).digest('hex')",
  'const h = await argon2.hash(password)',
  "createCipheriv('aes-256-gcm', key, randomBytes(12))",
  'const jitterMs = Math.random() * 100',
  "jwt.sign({ id }, key, { expiresIn: '15m' })",
  inHandler("if (request.query.sort === 'token') return 1"),
  inHandler('if (a.password.length === 0) return 1'),
  "const schema = { properties: { password: { type: 'string' } } }",
  "const labels = { password: 'Your password' }",
  "const names = { SESSION_SECRET: 'sessionSecret', apiKey: 'API_KEY', tokenName: 'abc123def' }",
  "const s = process.env.JWT_SECRET ?? ''",
  "const level = process.env.LOG_LEVEL ?? 'info'",
  "const url = 'postgres://user:password@host/database'",
  inHandler("request.log.info({ id: request.params.id }, 'in')"),
  inHandler('console.log(request.method)'),
  "app.setErrorHandler((e, request, reply) => { request.log.error({ err: e, stack: e.stack }); reply.code(500).send({ error: 'Internal' }) })",
  inHandler(
    "reply.setCookie('__Host-sid', id, { secure: true, httpOnly: true, sameSite: 'lax', path: '/' })",
  ),
  inHandler("reply.setCookie('sid', id, cookieOptions)"),
  "fetch('http://localhost:3000/health')",
  "fetch('http://orders:8080/health')",
  'const re = /^(?:[a-z]+-)*[a-z]+$/',
]

await t.test('careful code raises no alarm', async (t) => {
  for (const text of FINE) {
    const certain = rulesOf(text).filter((rule) => !rule.endsWith('?') && rule !== 'change')
    t.same(certain, [], text)
  }
})

await t.test('a value that was compared with a list is left to a person', async (t) => {
  const text = inHandler(
    'const { sort } = request.query; if (!COLUMNS.includes(sort)) throw bad(); return db.query(`SELECT a FROM b ORDER BY ${sort}`)',
  )
  t.same(rulesOf(text), ['sql?'])
  t.same(rulesOf('export const find = (id) => db.query(`SELECT a FROM b WHERE id = ${id}`)'), [
    'sql?',
  ])
})

await t.test('a secret in the source is never shown', async (t) => {
  const [hit] = scanText(parse, 'a.js', "const apiKey = 'q8Zr-771-xk'") ?? []
  t.match(hit, { rule: 'hard-coded-secret', place: 'a.js:1' })
  t.notMatch(JSON.stringify(hit), /q8Zr/)
  const others = [
    "const t = jwt.sign({ id }, 'q8Zr-771-xk')",
    "createCipheriv('aes-256-cbc', Buffer.from('q8Zr-771-xk'), iv)",
    "createCipher('aes-256-cbc', 'q8Zr-771-xk')",
    "fetch('http://app:q8Zr-771-xk@partner.acme.net/a')",
  ]
  for (const text of others) {
    const hits = scanText(parse, 'a.js', text) ?? []
    t.ok(hits.length > 0, text)
    t.notMatch(JSON.stringify(hits), /q8Zr/)
  }
})

await t.test('how a secret is encoded is no secret', async (t) => {
  t.same(rulesOf("const secret = Buffer.from(given ?? generateSecret(), 'base64url')"), [])
})

await t.test('functions are scanned in every form', async (t) => {
  const forms = [
    'async (req) => db.query("SELECT a FROM b WHERE c = " + req.query.c)',
    'function (req) { return db.query("SELECT a FROM b WHERE c = " + req.query.c) }',
    'async handler(req) { return db.query("SELECT a FROM b WHERE c = " + req.query.c) }',
  ]
  for (const form of forms) {
    t.match(scanFunction(parse, 'GET /b', form), [{ rule: 'sql', place: 'GET /b' }], form)
  }
  t.same(scanFunction(parse, 'GET /b', 'function () { [native code] }'), [])
  t.same(scanFunction(parse, 'GET /b', 'not a function ('), [])
  t.equal(scanText(parse, 'a.js', 'const = 1'), undefined)
})

await t.test('deep trees end the scan and not the process', async (t) => {
  const deep = `const a = ${'['.repeat(2_000)}${']'.repeat(2_000)}`
  t.doesNotThrow(() => scanText(parse, 'a.js', deep))
})

/** Each has a loop that reads one text in two ways. */
const EXPONENTIAL: readonly string[] = [
  '(a+)+',
  '^(\\d*)*$',
  '([a-z]+)*x',
  '(?:\\w+){2,}',
  '^(a|a)*$',
  '(\\w|\\d)+$',
  '(?:x*y*)*',
  '(a|aa)+$',
  '^(?:[a-z]+\\s?)+$',
  '(?:a{1,3})*b',
  '(?:\\d{2,4})+$',
  '(?:ab|a|b)+$',
  '(?=(a+)+b)',
  '(?<n>\\s+)+$',
  '(?:[^"]|\\\\.)*"',
  '^(([a-z])+.)+[A-Z]([a-z])+$',
  '(x+x+)+y',
]

/** None has, though some repeat a group that ends with a repetition. */
const LINEAR: readonly string[] = [
  '^[A-Za-z]+(?:_[A-Za-z]+)*$',
  '(a+b)+',
  '(?:[a-z]+\\.)+',
  '^\\d+$',
  '(abc)+',
  '[(a+)+]',
  '^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,}$',
  '^"(?:[^"\\\\]|\\\\.)*"$',
  '(a?)*b',
  '^(?:\\d{1,3}\\.){3}\\d{1,3}$',
  '(\\d{4}-?)*',
  '^(?:[\\w-]+\\.)*[\\w-]+$',
  '(?:(?:a,)*b)*',
  '^/(?:[^/]+/)*$',
  '(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==)?',
]

await t.test('a piece of source shows no secret of its literals', async (t) => {
  for (const [text, shown] of [
    ['exec(`mysql -pS3cretPw99 -e ${request.body.q1}`)', 'exec(`mysql … -e ${request.body.q1}`)'],
    [
      `db.query("SELECT a FROM b WHERE k = 'dbk-7781-Q' AND n = '" + request.query.n + "'")`,
      `"SELECT a FROM b WHERE k = '…' AND n = '" + request.query.n + "'"`,
    ],
    [
      "log.info('of admin is Tr0ub4dor&3', request.body)",
      "log.info('of admin is …', request.body)",
    ],
    ["createCipheriv('aes-128-ecb', key, null)", "'aes-128-ecb'"],
  ] as const) {
    const hits = scanText(parse, 'a.js', inHandler(text)) ?? []
    t.ok(
      hits.map(({ excerpt }) => excerpt).includes(shown),
      hits.map(({ excerpt }) => excerpt).join(),
    )
  }
})

await t.test('what is called as storage is, but is none, changes nothing', async (t) => {
  for (const text of [
    "createHash('sha256').update(request.params.id)",
    'const hmac = createHmac(a, b); hmac.update(request.params.id)',
    'Object.create(request.query)',
    'url.searchParams.delete(request.query.name)',
  ])
    t.notOk(rulesOf(inHandler(text)).includes('change'), text)
})

await t.test('a secret is found once, and names of keys are no secrets', async (t) => {
  const twice = "const jwtSecret = process.env.JWT_SECRET || 'k3yb0ard-91'"
  t.same(rulesOf(twice), ['secret-default'])
  for (const text of [
    "const cookieKey = 'app.session.v2'",
    "const sessionKey = 'user-session-v2-eu-west'",
    "const key = process.env.CACHE_KEY || 'cache-v1-0123456789'",
    "const schema = { properties: { password: { examples: ['hunter2hunter2'] } } }",
    "if (mode === 'k3yb0ard-91') jwtSecret = read()",
    inHandler("if (request.body.token_type === 'bearer-v2') return 1"),
    "const secrets = ['**/*.env', 'k3yb0ard-91']",
    "const passwords = ['hunter2!', 'k3yb0ard-91']",
  ])
    t.same(rulesOf(text), [], text)
})

await t.test('exponential patterns are found, and harmless ones are not', async (t) => {
  for (const pattern of EXPONENTIAL) t.ok(isExponential(pattern), pattern)
  for (const pattern of LINEAR) t.notOk(isExponential(pattern), pattern)
  t.ok(isExponential('^(?:\\p{L}|\\w)+$', 'u'), 'classes of Unicode overlap')
  t.notOk(isExponential('^(?:\\p{Lu}|\\d)+$', 'u'))
  t.ok(isExponential('^(?:a|A)*$', 'i'), 'without regard to case')
  t.notOk(isExponential('^(?:a|A)*$'))
  t.notOk(isExponential('(a+'), 'what is no pattern')
  const wide = Array.from({ length: 200 }, (_, index) => `k${index}x`).join('|')
  t.notOk(isExponential(`^(?:${wide})*$`), 'many alternatives')
})

await t.test('secrets are recognized by name, value and format', async (t) => {
  for (const name of ['jwtSecret', 'DB_PASSWORD', 'api-key', 'clientSecret', 'password'])
    t.ok(isSecretName(name), name)
  for (const name of [
    'secretName',
    'passwordField',
    'tokenPath',
    'monkey',
    'secretary',
    'passwordHash',
  ])
    t.notOk(isSecretName(name), name)
  for (const text of ['hunter2!', 'k3yb0ard-91']) t.ok(looksLikeValue(text), text)
  for (const text of [
    'string',
    'your password',
    '/run/secrets/x',
    'API_KEY',
    'https://a',
    'delete',
  ])
    t.notOk(looksLikeValue(text), text)
  t.match(nameLeak(`x $2b$12$${'a'.repeat(53)}`), /bcrypt/)
  t.equal(nameLeak('-----BEGIN PRIVATE KEY-----'), undefined, 'a header without a key')
  for (const value of [
    'secret',
    'changeme',
    'Password1',
    'postgres://a:postgres@db/x',
    'my-secret-key',
  ])
    t.ok(findWeakness(value), value)
  for (const value of [
    '',
    'Zk8vQ1tX9sLw3pRb7nYd2mHc',
    'postgres://db/x',
    'postgres://a:Zk8vQ1tX9sLw3pRb@db/x',
  ])
    t.notOk(findWeakness(value), value)
})
