/** Attacks on tokens, keys, events and stored data. */
import {
  createHash,
  createPublicKey,
  generateKeyPairSync,
  verify,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createMemoryStore } from '@parapet/kit'
import { createJwsGate, createPasswordCheck, hashPassword, sessions } from '@parapet/sessions'
import { readVectors } from '@parapet/testing'
import Fastify from 'fastify'
import t from 'tap'
import { hashApiKey, parseApiKey } from '../src/api-keys/key-text.ts'
import { thumbprintOf } from '../src/keys/jwk.ts'
import { createRefreshTokens } from '../src/tokens/refresh-token.ts'
import {
  baseOptions,
  build,
  eventsOf,
  key,
  passphrase,
  refusalOf,
  unauthenticated,
} from './build.ts'
import { claimsAt, mint, respell } from './forge.ts'
import { attacksAt, foreignKey, header, jwk, kid } from './jwt-attacks.ts'

const UNAUTHENTICATED = [401, unauthenticated.code]

await t.test('every forged token gets the same 401 response as no token', async (t) => {
  const { ask, clock, handled } = await build(t)
  const good = mint(key, header, claimsAt(clock.now()))
  t.equal((await ask(good)).status, 200, 'a token that the test mints is accepted')
  const reordered = mint(key, { kid, typ: 'at+jwt', alg: 'ES256' }, claimsAt(clock.now()))
  t.equal((await ask(reordered)).status, 200, 'with the header members in another order')
  handled.length = 0
  const anonymous = await ask(null)
  const attacks = Object.entries(attacksAt(clock.now()))
  for (const [name, token] of attacks) {
    const { status, code, body } = await ask(token)
    t.same({ status, code }, { status: 401, code: 'PARAPET_SESSIONS_UNAUTHENTICATED' }, name)
    t.equal(body, anonymous.body, `${name}: the same body`)
  }
  t.same(handled, [], 'the handler never ran')
  t.ok(attacks.length >= 90, `${attacks.length} attacks`)
})

await t.test(
  'an optional route accepts anonymous requests and refuses invalid tokens',
  async (t) => {
    const { app, clock, handled } = await build(t)
    t.equal((await app.inject('/open')).json<{ principal: unknown }>().principal, null)
    handled.length = 0
    for (const [name, token] of Object.entries(attacksAt(clock.now()))) {
      const reply = await app.inject({
        url: '/open',
        headers: { authorization: `Bearer ${token}` },
      })
      t.same(refusalOf(reply), UNAUTHENTICATED, name)
    }
    t.same(handled, [], 'the handler never ran')
    const other = await app.inject({ url: '/open', headers: { authorization: 'Basic dTpw' } })
    t.equal(other.statusCode, 200, 'another authentication scheme is ignored')
  },
)

interface JoseVector {
  readonly alg: string
  readonly jwk: (JsonWebKey & { kid?: string }) | null
  readonly jws?: string
  readonly thumbprint?: string
  readonly jkt?: string
  readonly accessToken?: string
  readonly ath?: string
}

await t.test('the examples of the JOSE RFCs are accepted or refused as expected', async (t) => {
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
      // Refused because it contains its own key; the signature itself is valid.
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

await t.test('a weak key stops the boot', async (t) => {
  const weak = {
    'RSA of 2048 bits': pemOf(generateKeyPairSync('rsa', { modulusLength: 2048 })),
    'RSA with the exponent 3': pemOf(
      generateKeyPairSync('rsa', { modulusLength: 3072, publicExponent: 3 }),
    ),
    'P-384': pemOf(generateKeyPairSync('ec', { namedCurve: 'P-384' })),
    secp256k1: pemOf(generateKeyPairSync('ec', { namedCurve: 'secp256k1' })),
    Ed448: pemOf(generateKeyPairSync('ed448')),
    'not a key': 'hello',
    'another passphrase': foreignKey.pem,
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
})

await t.test('createJwsGate refuses weak, secret and broken keys', async (t) => {
  const invalidKey = { code: 'PARAPET_SESSIONS_INVALID_KEY', statusCode: 500 }
  for (const purpose of [{ use: 'enc' }, { alg: 'ES384' }, { key_ops: ['sign'] }]) {
    t.throws(() => createJwsGate([{ ...jwk, ...purpose }]), invalidKey)
  }
  t.ok(createJwsGate([{ ...jwk, use: 'sig', alg: 'ES256', key_ops: ['verify'] }]))
  const broken = [{ kty: 'oct', k: 'c2VjcmV0' }, { kty: 'EC' }, { ...jwk, x: 'AAAA' }, {}, null]
  for (const each of broken) {
    t.throws(() => createJwsGate([each as never]), {
      ...invalidKey,
      message: /^((?!c2VjcmV0).)*$/,
    })
  }
  const roca = rocaModulus()
  t.throws(() => createJwsGate([{ kty: 'RSA', e: 'AQAB', n: roca }]), {
    ...invalidKey,
    message: /CVE-2017-15361/,
  })
  t.throws(() => createJwsGate([{ kty: 'RSA', e: 'AQ', n: roca }]), invalidKey)
})

/** A modulus with the fingerprint of CVE-2017-15361: a power of 65537 modulo all small primes. */
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

await t.test('a handler cannot change the principal of another request', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(sessions, baseOptions)
  app.get('/', async (request) => {
    const roles = request.principal!.roles as string[]
    try {
      roles.push('admin')
    } catch {
      // The array is frozen.
    }
    return roles
  })
  const { accessToken } = await app.sessions.start({ id: 'user-1', roles: ['reader'] })
  const headers = { authorization: `Bearer ${accessToken}` }
  t.same((await app.inject({ url: '/', headers })).json(), ['reader'])
  t.same((await app.inject({ url: '/', headers })).json(), ['reader'])
})

await t.test(
  'a route that was declared before the plugin was ready has its own rule',
  async (t) => {
    const app = Fastify()
    t.after(() => app.close())
    void app.register(sessions, { ...baseOptions, requireByDefault: false })
    const rules = { '/open': 'optional', '/login': 'ignored', '/own': 'required', '/typo': 'open' }
    for (const [url, rule] of Object.entries(rules)) {
      app.get(url, { config: { sessions: rule as 'optional' } }, async () => url)
    }
    t.equal((await app.inject('/open')).body, '/open')
    const headers = { authorization: 'Bearer nonsense' }
    t.equal((await app.inject({ url: '/login', headers })).body, '/login', 'tokens are not read')
    t.same(refusalOf(await app.inject('/own')), UNAUTHENTICATED)
    t.same(
      refusalOf(await app.inject('/typo')),
      UNAUTHENTICATED,
      'anything else is the strictest rule',
    )
  },
)

await t.test('events contain the reason of a refusal, and no token', async (t) => {
  const { refuses, clock, events, start, app } = await build(t)
  const { accessToken, refreshToken } = await start()
  await refuses(mint(foreignKey, header, claimsAt(clock.now())))
  await refuses('x')
  await app.sessions.revoke('everyone')
  await refuses(accessToken)
  await app.sessions.refresh(refreshToken).catch(() => {})
  const reasons = eventsOf(events, 'sessions.token_refused').map(({ details }) => details)
  t.same(reasons, [{ reason: 'signature' }, { reason: 'malformed' }, { reason: 'revoked' }])
  const text = JSON.stringify(events)
  for (const secret of [accessToken, refreshToken, passphrase]) t.notOk(text.includes(secret))
})

await t.test('a failed login does not reveal whether the account exists', async (t) => {
  const passwordHash = await hashPassword('right')
  const accounts = new Map([
    ['known', { user: { id: 'user-1', roles: [] }, passwordHash }],
    ['disabled', { user: { id: 'user-2', roles: [] }, passwordHash, disabled: true }],
    ['broken', { user: { id: 'user-3', roles: [] }, passwordHash: '$2b$12$abc' }],
  ])
  const credentials = createPasswordCheck({
    findAccount: async (name) => accounts.get(name) ?? null,
  })
  const { app, events } = await build(t, { prefix: '/auth', credentials })
  const logIn = (login: string, password: string) =>
    app.inject({ method: 'POST', url: '/auth/login', payload: { login, password } })
  const bodies = new Set<string>()
  const attempts = [
    ['known', 'wrong'],
    ['unknown', 'right'],
    ['disabled', 'right'],
    ['broken', 'right'],
    ['__proto__', 'x'],
  ]
  for (const [name, password] of attempts) {
    const reply = await logIn(name!, password!)
    t.same(refusalOf(reply), [401, 'PARAPET_SESSIONS_LOGIN_FAILED'], name!)
    bodies.add(reply.body)
  }
  t.equal(bodies.size, 1, 'the same body for all')
  t.same(eventsOf(events, 'sessions.login_succeeded'), [], 'no session started')
  t.equal((await logIn('known', 'right')).statusCode, 200)
})

await t.test('the content of the store contains no credential', async (t) => {
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
  // The dump contains ids and generations, which are useless without the secret.
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

await t.test('a refresh token with one changed bit is refused', async (t) => {
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
    await t.rejects(app.sessions.refresh(text), {
      code: 'PARAPET_SESSIONS_REFRESH_REFUSED',
      statusCode: 401,
    })
  }
  t.ok((await app.sessions.refresh(refreshToken)).accessToken, 'the real token still works')
})

interface RefreshVectors {
  readonly secrets: string[]
  readonly cases: { name: string; token: string; sessionId?: string; generation?: number }[]
}

function read(name: string): unknown {
  const url = new URL(`../../../docs/spec/vectors/${name}.json`, import.meta.url)
  return JSON.parse(readFileSync(url, 'utf8'))
}

await t.test('refresh tokens and API keys match the vectors of their formats', async (t) => {
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
