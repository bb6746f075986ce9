import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  sign,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createMemoryStore } from '@parapet/kit'
import { createJwsGate, generateKey, hashPassword, sessions } from '@parapet/sessions'
import { readVectors } from '@parapet/testing'
import fastifyCookie from '@fastify/cookie'
import Fastify from 'fastify'
import t from 'tap'
import { hashApiKey, parseApiKey } from '../src/api-key-text.ts'
import { thumbprintOf } from '../src/jwk.ts'
import { createRefreshTokens } from '../src/refresh-tokens.ts'
import { audience, baseOptions, build, issuer, key, passphrase, told } from './build.ts'
import {
  claimsAt,
  mint,
  mintHmac,
  randomName,
  respell,
  segment,
  signWith,
  type Json,
} from './forge.ts'

const jwk = createPublicKey({ key: key.pem, passphrase } as never).export({ format: 'jwk' })
const kid = thumbprintOf(jwk)
const header: Json = { alg: 'ES256', typ: 'at+jwt', kid }
const stranger = generateKey(passphrase)

/** Every attack by name. Most are signed with the service's own key: what is tested is the gate. */
function attacksAt(now: number): Record<string, string> {
  const claims = claimsAt(now)
  const seconds = Math.floor(now / 1000)
  const publicPem = createPublicKey({ key: jwk, format: 'jwk' }).export({
    type: 'spki',
    format: 'pem',
  })
  const good = mint(key, header, claims)
  const [h, p, s] = good.split('.') as [string, string, string]
  const input = `${h}.${p}`
  const without = (name: string) => {
    const { [name]: _, ...rest } = claims
    return mint(key, header, rest)
  }
  const withClaims = (more: Json) => mint(key, header, { ...claims, ...more })
  const withHeader = (more: Json) => mint(key, { ...header, ...more }, claims)
  const rewrite = (text: string) => mint(key, header, Buffer.from(text))
  const json = JSON.stringify(claims)
  const shapes = {
    'no token at all': '',
    'one segment': h,
    'two segments': input,
    'four segments': `${good}.${s}`,
    'no header': `.${p}.${s}`,
    'no payload': `${h}..${signWith(key, `${h}.`)}`,
    'no signature': `${input}.`,
    'a header that is no JSON': mint(key, 'hello', claims),
    'a header that is a list': mint(key, '["ES256"]', claims),
    'a payload that is no JSON': rewrite('hello'),
    'a payload that is a text': rewrite('"hello"'),
    'a payload that is a list': rewrite('[]'),
    'a payload that is null': rewrite('null'),
    'a payload that is a number': rewrite('1'),
    'a payload that is not UTF-8': mint(
      key,
      header,
      Buffer.from(json.replace('reader', 'r\xff'), 'latin1'),
    ),
    'a token of 100 000 characters': mint(key, header, { ...claims, pad: 'x'.repeat(75_000) }),
    'a refresh token': randomName() + randomName() + randomName(),
  }
  const algorithms = {
    'alg none, unsigned': `${segment({ ...header, alg: 'none' })}.${p}.`,
    'alg none, with a signature': withHeader({ alg: 'none' }),
    'alg None': withHeader({ alg: 'None' }),
    'alg HS256 keyed with the public PEM': mintHmac(
      String(publicPem),
      { ...header, alg: 'HS256' },
      claims,
    ),
    'alg HS256 keyed with the JWK': mintHmac(
      JSON.stringify(jwk),
      { ...header, alg: 'HS256' },
      claims,
    ),
    'alg HS256 keyed with nothing': mintHmac('', { ...header, alg: 'HS256' }, claims),
    'alg RS256 for a P-256 key': withHeader({ alg: 'RS256' }),
    'alg ES384': withHeader({ alg: 'ES384' }),
    'alg in small letters': withHeader({ alg: 'es256' }),
    'alg as a list': withHeader({ alg: ['ES256'] }),
    'no alg': mint(key, { typ: 'at+jwt', kid }, claims),
  }
  const keys = {
    'a stranger’s key under our kid': mint(stranger, header, claims),
    'an unknown kid': withHeader({ kid: randomName() }),
    'no kid': mint(key, { alg: 'ES256', typ: 'at+jwt' }, claims),
    'kid as a path': withHeader({ kid: '../../dev/null' }),
    'kid of the prototype chain': withHeader({ kid: '__proto__' }),
    'an embedded jwk': mint(stranger, { ...header, jwk: publicOf(stranger.pem) }, claims),
    'our own jwk embedded': withHeader({ jwk }),
    jku: withHeader({ jku: 'https://evil.example/keys' }),
    x5u: withHeader({ x5u: 'https://evil.example/cert' }),
    x5c: withHeader({ x5c: ['MIIB'] }),
    crit: withHeader({ crit: ['exp'] }),
    'b64 false': withHeader({ b64: false, crit: ['b64'] }),
    zip: withHeader({ zip: 'DEF' }),
  }
  const types = {
    'typ JWT': withHeader({ typ: 'JWT' }),
    'typ of another token': withHeader({ typ: 'logout+jwt' }),
    'no typ': mint(key, { alg: 'ES256', kid }, claims),
    'a nested token': withHeader({ cty: 'JWT' }),
  }
  const required = [
    'iss',
    'aud',
    'sub',
    'sid',
    'jti',
    'iat',
    'exp',
    'auth_time',
    'amr',
    'roles',
    'epochs',
  ]
  const missing = Object.fromEntries(required.map((name) => [`no ${name}`, without(name)]))
  const values = {
    'another issuer': withClaims({ iss: `${issuer}.evil.example` }),
    'another audience': withClaims({ aud: 'other' }),
    'several audiences': withClaims({ aud: [audience, 'other'] }),
    expired: withClaims({ iat: seconds - 900, exp: seconds, auth_time: seconds - 900 }),
    'good for 31 years': withClaims({ exp: seconds + 31 * 31_536_000 }),
    'good for one second too long': withClaims({ exp: seconds + 901 }),
    'made in the future': withClaims({ iat: seconds + 60, exp: seconds + 900 }),
    'not good yet': withClaims({ nbf: seconds + 60 }),
    'nbf as a text': withClaims({ nbf: 'now' }),
    'exp as a text': withClaims({ exp: String(seconds + 900) }),
    'exp as a fraction': withClaims({ exp: seconds + 0.5 }),
    'exp that overflows': rewrite(json.replace(/"exp":\d+/, '"exp":1e308')),
    'iat below zero': withClaims({ iat: -1 }),
    'logged in after it was made': withClaims({ auth_time: seconds + 1 }),
    'roles as one text': withClaims({ roles: 'admin' }),
    'a role that is an object': withClaims({ roles: [{ toString: 'admin' }] }),
    'an empty amr': withClaims({ amr: [] }),
    'sub as a number': withClaims({ sub: 1 }),
    'an empty sub': withClaims({ sub: '' }),
    'a sub that is no text': rewrite(json.replace('"user-1"', String.raw`"\ud800"`)),
    'a jti of another form': withClaims({ jti: 'x' }),
    'a sid that is an object': withClaims({ sid: {} }),
    'permissions as one text': withClaims({ permissions: 'all' }),
    'a tenant that is a number': withClaims({ tenant: 1 }),
    'epochs from the future of nobody': withClaims({ epochs: [-1, 0] }),
    'epochs as an object': withClaims({ epochs: { 0: 0, 1: 0, length: 2 } }),
  }
  const duplicates = {
    'sub twice': rewrite(json.replace('{', '{"sub":"admin",')),
    'sub twice, once escaped': rewrite(json.replace('{', String.raw`{"\u0073ub":"admin",`)),
    'roles twice': rewrite(json.replace(/\}$/, ',"roles":["admin"]}')),
    'alg twice': mint(key, Buffer.from(`{"alg":"none",${JSON.stringify(header).slice(1)}`), claims),
  }
  const der = sign('sha256', Buffer.from(input), { key: key.pem, passphrase })
  const signatures = {
    'a signature spelled otherwise': `${input}.${respell(s)}`,
    'a padded signature': `${good}==`,
    'a padded header': `${h}=.${p}.${signWith(key, `${h}=.${p}`)}`,
    'standard base64': good.replaceAll('-', '+').replaceAll('_', '/') + '+',
    'a blank in the signature': `${input}.${s.slice(0, 10)} ${s.slice(10)}`,
    'a signature of zeros': `${input}.${Buffer.alloc(64).toString('base64url')}`,
    'a signature in DER': `${input}.${der.toString('base64url')}`,
    'a signature cut short': `${input}.${s.slice(0, -4)}`,
    'a signature made longer': `${input}.${s}AAAA`,
    'a signature of another token': `${input}.${mint(key, header, claimsAt(now)).split('.')[2]!}`,
    'a payload changed after signing': `${h}.${segment({ ...claims, roles: ['admin'] })}.${s}`,
    'a header changed after signing': `${segment({ typ: 'at+jwt', ...header })}.${p}.${s}`,
  }
  return {
    ...shapes,
    ...algorithms,
    ...keys,
    ...types,
    ...missing,
    ...values,
    ...duplicates,
    ...signatures,
  }
}

function publicOf(pem: string): JsonWebKey {
  return createPublicKey({ key: pem, passphrase } as never).export({ format: 'jwk' })
}

await t.test('each forged token is one generic 401, and the same one', async (t) => {
  const { ask, clock, handled } = await build(t)
  const good = mint(key, header, claimsAt(clock.now()))
  t.equal((await ask(good)).status, 200, 'the forger knows how a good token looks')
  t.equal(
    (await ask(mint(key, { kid, typ: 'at+jwt', alg: 'ES256' }, claimsAt(clock.now())))).status,
    200,
  )
  handled.length = 0
  const anonymous = await ask(null)
  const attacks = Object.entries(attacksAt(clock.now()))
  for (const [name, token] of attacks) {
    const { status, code, body } = await ask(token)
    t.same({ status, code }, { status: 401, code: 'PARAPET_SESSIONS_UNAUTHENTICATED' }, name)
    t.equal(body, anonymous.body, `${name}: the same body as for no token`)
  }
  t.same(handled, [], 'no handler ran')
  t.ok(attacks.length >= 90, `${attacks.length} attacks`)
})

await t.test('an optional route takes nobody, but no broken token', async (t) => {
  const { app, clock } = await build(t)
  t.equal((await app.inject('/open')).json<{ principal: unknown }>().principal, null)
  for (const [name, token] of Object.entries(attacksAt(clock.now()))) {
    const reply = await app.inject({ url: '/open', headers: { authorization: `Bearer ${token}` } })
    t.equal(reply.statusCode, 401, name)
  }
  const other = await app.inject({ url: '/open', headers: { authorization: 'Basic dTpw' } })
  t.equal(other.statusCode, 200, 'another scheme is not ours')
})

interface JoseVector {
  readonly alg: string
  readonly jwk: (JsonWebKey & { kid?: string }) | null
  readonly jws?: string
  readonly thumbprint?: string
  readonly jkt?: string
  readonly accessToken?: string
  readonly ath?: string
}

await t.test('the examples of the JOSE RFCs have the verdict they should have', async (t) => {
  const file = readVectors<{ vectors: Record<string, JoseVector> }>(
    t,
    'identity/jose-rfc-vectors.json',
  )
  if (file === null) return
  const accepted = ['rfc7515-A2', 'rfc7515-A3', 'rfc8037-A4']
  for (const [name, vector] of Object.entries(file.vectors)) {
    const { jws, thumbprint, jkt, accessToken, ath } = vector
    if (thumbprint !== undefined)
      t.equal(thumbprintOf(vector.jwk!), thumbprint, `${name}: thumbprint`)
    if (jkt !== undefined) t.equal(thumbprintOf(vector.jwk!), jkt, `${name}: jkt`)
    if (accessToken !== undefined)
      t.equal(createHash('sha256').update(accessToken).digest('base64url'), ath, name)
    if (jws === undefined) continue
    const usable = vector.jwk !== null && vector.jwk.kty !== 'oct'
    const gate = createJwsGate(usable ? [vector.jwk] : [jwk])
    const found = gate(jws)
    t.equal(found !== null, accepted.includes(name), `${name}: accepted or not`)
    if (found !== null) {
      const payload = jws.split('.')[1]!
      t.equal(
        found.payload.toString('base64url'),
        payload,
        `${name}: the payload is what was signed`,
      )
      const [h, p, s] = jws.split('.') as [string, string, string]
      t.equal(
        gate(`${h}.${p}.${s.startsWith('A') ? 'B' : 'A'}${s.slice(1)}`),
        null,
        `${name}: one bit off`,
      )
    } else if (name.startsWith('rfc9449')) {
      // Refused, since it names its own key; the signature itself is right.
      const [h, p, s] = jws.split('.') as [string, string, string]
      const publicKey = createPublicKey({ key: vector.jwk!, format: 'jwk' })
      const signature = Buffer.from(s, 'base64url')
      t.ok(
        verify(
          'sha256',
          Buffer.from(`${h}.${p}`),
          { key: publicKey, dsaEncoding: 'ieee-p1363' },
          signature,
        ),
        name,
      )
    }
  }
})

function pemOf(pair: { readonly privateKey: KeyObject }): string {
  return pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
}

await t.test('a weak key neither signs nor verifies', async (t) => {
  const weak = {
    'RSA of 2048 bits': pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 })),
    'RSA with the exponent 3': pemOf(
      generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }),
    ),
    'P-384': pemOf(generateKeyPairSync('ec', { namedCurve: 'P-384' })),
    secp256k1: pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' })),
    Ed448: pemOf(generateKeyPairSync('ed448')),
    'no key': 'hello',
    'another passphrase': stranger.pem,
  }
  for (const [name, text] of Object.entries(weak)) {
    const app = Fastify()
    t.after(() => app.close())
    await t.rejects(
      async () => {
        await app.register(sessions, {
          ...baseOptions,
          keys: { current: { pem: text, passphrase: 'x' } },
        })
      },
      { code: 'PARAPET_SESSIONS_INVALID_KEY', statusCode: 500, message: /^The key "current" / },
      name,
    )
  }
  for (const purpose of [{ use: 'enc' }, { alg: 'ES384' }, { key_ops: ['sign'] }]) {
    t.throws(() => createJwsGate([{ ...jwk, ...purpose }]), {
      code: 'PARAPET_SESSIONS_INVALID_KEY',
    })
  }
  t.ok(createJwsGate([{ ...jwk, use: 'sig', alg: 'ES256', key_ops: ['verify'] }]))
  const broken = [{ kty: 'oct', k: 'c2VjcmV0' }, { kty: 'EC' }, { ...jwk, x: 'AAAA' }, {}, null]
  for (const each of broken) {
    t.throws(() => createJwsGate([each as never]), {
      code: 'PARAPET_SESSIONS_INVALID_KEY',
      message: /^((?!c2VjcmV0).)*$/,
    })
  }
  const roca = rocaModulus()
  t.throws(() => createJwsGate([{ kty: 'RSA', e: 'AQAB', n: roca }]), { message: /CVE-2017-15361/ })
  t.throws(() => createJwsGate([{ kty: 'RSA', e: 'AQ', n: roca }]), {
    code: 'PARAPET_SESSIONS_INVALID_KEY',
  })
})

/** A modulus with the fingerprint of the broken generator: a power of 65537 modulo all small primes. */
function rocaModulus(): string {
  const primes = [
    3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97,
    101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167,
  ]
  const product = primes.reduce((all, prime) => all * BigInt(prime), 1n)
  let power = 1n
  for (let n = 0; n < 12_345; n++) power = (power * 65_537n) % product
  const modulus = ((1n << 3071n) / product) * product + power + product
  return Buffer.from(modulus.toString(16).padStart(768, '0'), 'hex').toString('base64url')
}

await t.test('what a route does to its principal reaches no other request', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(sessions, baseOptions)
  app.get('/', async (request) => {
    const roles = request.principal!.roles as string[]
    try {
      roles.push('admin')
    } catch {
      // Frozen.
    }
    return roles
  })
  const { accessToken } = await app.sessions.start({ id: 'user-1', roles: ['reader'] })
  const headers = { authorization: `Bearer ${accessToken}` }
  t.same((await app.inject({ url: '/', headers })).json(), ['reader'])
  t.same((await app.inject({ url: '/', headers })).json(), ['reader'])
})

await t.test('a route that the plugin came too late for is refused, not left open', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  void app.register(sessions, { ...baseOptions, requireByDefault: false })
  app.get('/late', { config: { sessions: 'optional' } }, async () => t.fail('the handler ran'))
  t.equal((await app.inject('/late')).statusCode, 401)
})

await t.test('the events say why a token was refused, and hold no token', async (t) => {
  const { ask, clock, events, start, app } = await build(t)
  const { accessToken, refreshToken } = await start()
  await ask(mint(stranger, header, claimsAt(clock.now())))
  await ask('x')
  await app.sessions.revoke('everyone')
  await ask(accessToken)
  await app.sessions.refresh(refreshToken).catch(() => {})
  const reasons = told(events, 'sessions.token_refused').map(({ details }) => details)
  t.same(reasons, [{ reason: 'signature' }, { reason: 'malformed' }, { reason: 'revoked' }])
  const text = JSON.stringify(events)
  for (const secret of [accessToken, refreshToken, passphrase]) t.notOk(text.includes(secret))
})

const cookies = { sameSite: 'strict', trustedOrigins: ['https://app.example.com'] } as const
const login = {
  method: 'POST',
  url: '/auth/login',
  payload: { login: 'reader', password: 'pw' },
} as const

async function cookieApp(t: Parameters<typeof build>[0]) {
  const built = await build(t, {
    cookies,
    prefix: '/auth',
    credentials: async () => ({ id: 'user-1', roles: [] }),
  })
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const reply = await built.app.inject({ ...login, headers })
  const jar = Object.fromEntries(reply.cookies.map(({ name, value }) => [name, value]))
  return { ...built, reply, jar }
}

await t.test(
  'cookies are out of reach of scripts, of plain connections and of other hosts',
  async (t) => {
    const { reply } = await cookieApp(t)
    t.equal(reply.statusCode, 200)
    t.same(reply.json(), { token_type: 'Bearer', expires_in: 900 }, 'no token in the body')
    t.match(reply.cookies, [
      {
        name: '__Host-session',
        path: '/',
        httpOnly: true,
        secure: true,
        sameSite: 'Strict',
        maxAge: 900,
      },
      {
        name: '__Host-refresh',
        path: '/',
        httpOnly: true,
        secure: true,
        sameSite: 'Strict',
        maxAge: 604_800,
      },
    ])
    t.ok(String(reply.headers['set-cookie']).length < 4096)
    t.notMatch(String(reply.headers['set-cookie']), /domain/i)
  },
)

await t.test('a cookie is believed from the site itself only', async (t) => {
  const { app, jar, handled } = await cookieApp(t)
  const cases: [name: string, headers: Record<string, string>, status: number][] = [
    ['the same origin', { 'sec-fetch-site': 'same-origin' }, 200],
    ['a trusted origin', { 'sec-fetch-site': 'same-site', origin: 'https://app.example.com' }, 200],
    ['an older browser', { origin: 'http://api.example.com' }, 200],
    ['another site', { 'sec-fetch-site': 'cross-site', origin: 'https://evil.example' }, 403],
    ['a sister host', { 'sec-fetch-site': 'same-site', origin: 'https://blog.example.com' }, 403],
    ['another site, by an older browser', { origin: 'https://evil.example' }, 403],
    ['another port', { origin: 'http://api.example.com:8080' }, 403],
    ['a sandboxed frame', { origin: 'null' }, 403],
    [
      'a claim against the browser',
      { 'sec-fetch-site': 'cross-site', origin: 'http://api.example.com' },
      403,
    ],
    ['nobody in particular', {}, 403],
  ]
  for (const [name, headers, status] of cases) {
    handled.length = 0
    const host = { host: 'api.example.com', ...headers }
    const reply = await app.inject({ method: 'POST', url: '/private', headers: host, cookies: jar })
    t.equal(reply.statusCode, status, name)
    t.equal(handled.length, status === 200 ? 1 : 0, `${name}: the handler`)
    for (const url of ['/auth/refresh', '/auth/logout', '/auth/login']) {
      if (status === 200) continue
      const forged = await app.inject({ ...login, url, headers: host, cookies: jar })
      t.same(
        [forged.statusCode, forged.json<{ code: string }>().code],
        [403, 'PARAPET_SESSIONS_CROSS_SITE'],
        `${name}: ${url}`,
      )
    }
  }
  const read = await app.inject({
    url: '/private',
    cookies: jar,
    headers: { host: 'api.example.com' },
  })
  t.equal(read.statusCode, 200, 'reading changes nothing')
})

await t.test('a WebSocket is no mere reading: another site may not open one', async (t) => {
  const { app, jar, handled } = await cookieApp(t)
  const open = async (headers: Record<string, string>) => {
    const upgrade = { host: 'api.example.com', connection: 'Upgrade', upgrade: 'WebSocket' }
    const reply = await app.inject({
      url: '/private',
      cookies: jar,
      headers: { ...upgrade, ...headers },
    })
    return reply.statusCode
  }
  t.equal(await open({ origin: 'https://evil.example' }), 403)
  t.equal(await open({ 'sec-fetch-site': 'same-site', origin: 'https://blog.example.com' }), 403)
  t.equal(await open({}), 403)
  t.same(handled, [])
  t.equal(await open({ origin: 'http://api.example.com' }), 200)
  t.equal(await open({ 'sec-fetch-site': 'same-origin' }), 200)
})

await t.test('a cookie that came twice is worth nothing', async (t) => {
  const { app, jar, start, handled } = await cookieApp(t)
  const [session, refresh] = [jar['__Host-session']!, jar['__Host-refresh']!]
  const attacker = await start({ id: 'mallory', roles: [] })
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const doubles = [
    `__Host-session=${attacker.accessToken}; __Host-session=${session}`,
    `__Host-session=${session}; __Host-session=${attacker.accessToken}`,
    `a=b;__Host-session=${session};__Host-session=`,
  ]
  for (const cookie of doubles) {
    const reply = await app.inject({ url: '/private', headers: { ...headers, cookie } })
    t.equal(reply.statusCode, 401, cookie.slice(0, 40))
  }
  t.same(handled, [])
  for (const other of [refresh, attacker.refreshToken, '']) {
    const cookie = `__Host-refresh=${other}; __Host-refresh=${refresh}`
    const reply = await app.inject({
      method: 'POST',
      url: '/auth/refresh',
      headers: { ...headers, cookie },
    })
    t.equal(reply.statusCode, 401)
  }
  const lookalikes = `x__Host-session=${session}; __host-session=${session}; __Host-session2=${session}`
  const reply = await app.inject({ url: '/open', headers: { ...headers, cookie: lookalikes } })
  t.equal(reply.json<{ principal: unknown }>().principal, null, 'nor is one of another name')
  t.equal((await app.inject({ url: '/private', headers, cookies: jar })).statusCode, 200)
})

await t.test('what the app sets for its own cookies does not change ours', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(fastifyCookie, {
    secret: 'a secret of the app',
    hook: 'preHandler',
    parseOptions: { domain: 'example.com', signed: true, path: '/app', secure: false },
  })
  await app.register(sessions, {
    ...baseOptions,
    cookies,
    prefix: '/auth',
    credentials: async ({ login: id }) => ({ id, roles: [] }),
  })
  app.get('/private', async (request) => request.principal?.id)
  const headers = { 'sec-fetch-site': 'same-origin' }
  const reply = await app.inject({ ...login, headers })
  const lines = [reply.headers['set-cookie']].flat()
  t.equal(lines.length, 2)
  for (const line of lines) {
    t.match(
      line,
      /^__Host-(session|refresh)=[\w.-]+; Max-Age=\d+; Path=\/; HttpOnly; Secure; SameSite=Strict$/,
    )
  }
  const jar = Object.fromEntries(reply.cookies.map(({ name, value }) => [name, value]))
  t.equal((await app.inject({ url: '/private', cookies: jar })).body, 'reader')
})

await t.test('a logout by whatever cookie is left ends the session', async (t) => {
  const { app, jar, events } = await cookieApp(t)
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  const { '__Host-session': session } = jar
  const out = await app.inject({
    method: 'POST',
    url: '/auth/logout',
    headers,
    cookies: { '__Host-session': session! },
  })
  t.equal(out.statusCode, 204)
  t.equal((await app.inject({ url: '/private', headers, cookies: jar })).statusCode, 401)
  const again = await app.inject({ method: 'POST', url: '/auth/refresh', headers, cookies: jar })
  t.equal(again.statusCode, 401, 'the refresh token died with it')
  t.match(told(events, 'sessions.revoked'), [{ details: { scope: 'session', reason: 'logout' } }])
})

await t.test('the session that a login replaces is told to have ended', async (t) => {
  const { app, jar, events } = await cookieApp(t)
  const headers = { host: 'api.example.com', 'sec-fetch-site': 'same-origin' }
  t.equal((await app.inject({ ...login, headers, cookies: jar })).statusCode, 200)
  t.match(told(events, 'sessions.revoked'), [
    { principalId: 'user-1', details: { scope: 'session', reason: 'another login' } },
  ])
})

await t.test('a login tells nobody which accounts there are', async (t) => {
  const passwordHash = await hashPassword('right')
  const accounts = new Map([
    ['known', { user: { id: 'user-1', roles: [] }, passwordHash }],
    ['disabled', { user: { id: 'user-2', roles: [] }, passwordHash, disabled: true }],
    ['broken', { user: { id: 'user-3', roles: [] }, passwordHash: '$2b$12$abc' }],
  ])
  const { createPasswordCheck } = await import('@parapet/sessions')
  const credentials = createPasswordCheck({
    findAccount: async (name) => accounts.get(name) ?? null,
  })
  const { app } = await build(t, { prefix: '/auth', credentials })
  const bodies = new Set<string>()
  const attempts = [
    ['known', 'wrong'],
    ['unknown', 'right'],
    ['disabled', 'right'],
    ['broken', 'right'],
    ['__proto__', 'x'],
  ]
  for (const [name, password] of attempts) {
    const reply = await app.inject({ ...login, payload: { login: name, password } })
    t.equal(reply.statusCode, 401, name!)
    bodies.add(reply.body)
  }
  t.equal(bodies.size, 1, 'one body for all')
  const right = await app.inject({ ...login, payload: { login: 'known', password: 'right' } })
  t.equal(right.statusCode, 200)
})

await t.test('what is at rest replays nothing', async (t) => {
  const texts: string[] = []
  const store = createMemoryStore()
  const spy = new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => {
        texts.push(JSON.stringify(args))
        return (value as (...a: unknown[]) => unknown).apply(target, args)
      }
    },
  })
  const { app, start } = await build(t, { store: spy })
  const first = await start()
  const second = await app.sessions.refresh(first.refreshToken)
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'user-1', name: 'ci', scopes: [] })
  const dump = texts.join('\n')
  for (const secret of [
    first.refreshToken,
    second.refreshToken,
    first.accessToken,
    text,
    text.slice(21, 64),
  ]) {
    t.notOk(dump.includes(secret))
  }
  // Whoever has the dump knows ids and generations; without the secret they make no token of them.
  const { sessionId } = second
  t.ok(dump.includes(sessionId))
  const body = Buffer.concat([
    Buffer.from([1]),
    Buffer.from(sessionId, 'base64url'),
    Buffer.from([0, 0, 0, 1]),
  ])
  const forged = Buffer.concat([body, createHash('sha256').update(body).digest()]).toString(
    'base64url',
  )
  await t.rejects(app.sessions.refresh(forged), {
    code: 'PARAPET_SESSIONS_REFRESH_REFUSED',
    statusCode: 401,
  })
  await app.sessions.refresh(second.refreshToken)
})

await t.test(
  'each bit of a refresh token counts, and no store is asked about a forged one',
  async (t) => {
    const { app, start } = await build(t)
    const { refreshToken } = await start()
    const bytes = Buffer.from(refreshToken, 'base64url')
    let refused = 0
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const forged = Buffer.from(bytes)
      forged[bit >> 3]! ^= 1 << (bit & 7)
      await app.sessions.refresh(forged.toString('base64url')).catch(() => refused++)
    }
    t.equal(refused, bytes.length * 8)
    for (const text of [
      `${refreshToken}=`,
      respell(refreshToken),
      refreshToken.slice(1),
      '',
      'x'.repeat(71),
    ]) {
      await t.rejects(app.sessions.refresh(text), { code: 'PARAPET_SESSIONS_REFRESH_REFUSED' })
    }
    t.ok((await app.sessions.refresh(refreshToken)).accessToken, 'the true one still works')
  },
)

interface RefreshVectors {
  readonly secrets: string[]
  readonly cases: { name: string; token: string; sessionId?: string; generation?: number }[]
}

function read(name: string): unknown {
  const url = new URL(`../../../docs/spec/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8'))
}

await t.test('refresh tokens and API keys are read as their formats say', async (t) => {
  const refresh = read('refresh-token') as RefreshVectors
  const tokens = createRefreshTokens(refresh.secrets)
  for (const { name, token, sessionId, generation } of refresh.cases) {
    const expected = sessionId === undefined ? null : { sessionId, generation }
    t.same(tokens.parse(token), expected, name)
  }
  const keys = read('api-key') as { prefix: string; cases: Record<string, string>[] }
  for (const { name, text, id, secretHex, hash } of keys.cases) {
    const found = parseApiKey(text!, keys.prefix)
    t.equal(found?.id, id, name!)
    if (found === null) continue
    t.equal(found.secret.toString('hex'), secretHex)
    t.equal(hashApiKey(found.id, found.secret), hash)
  }
})
