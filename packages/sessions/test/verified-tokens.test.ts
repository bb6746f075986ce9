/** The cache of verified tokens: what is checked at each use, and what the cache holds. */
import { createManualClock, createMemoryStore } from '@parapet/kit'
import { generateKey } from '@parapet/sessions'
import t from 'tap'
import { createKeyRing } from '../src/keys/key-ring.ts'
import { createTokenIssuer } from '../src/tokens/issue-jwt.ts'
import { createSignatureVerifier } from '../src/tokens/verify-signature.ts'
import { createTokenVerifier } from '../src/tokens/verify-jwt.ts'
import { createVerifiedTokens, type VerifiedToken } from '../src/tokens/verified-tokens.ts'
import { audience, build, issuer, key } from './build.ts'

/** A verifier that counts the signatures that it checks. */
function createCounted(maxBytes = 1_000_000) {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const counted = { signatures: 0, clockBackMs: 0 }
  const now = () => clock.now() - counted.clockBackMs
  const settings = { issuer, audience, lifetimeMs: 900_000, now }
  const ring = createKeyRing({
    keys: { current: key, next },
    acceptRsa2048: false,
    createVerifier(publicPem, algorithm) {
      const verify = createSignatureVerifier(publicPem, algorithm, { issuer, audience })
      return (token) => {
        counted.signatures++
        return verify(token)
      }
    },
    now,
    overlapMs: 60_000,
  })
  const verified = createVerifiedTokens(maxBytes)
  const issue = createTokenIssuer({ ring, ...settings })
  const content = {
    user: { id: 'user-1', roles: ['reader'] },
    sessionId: 's'.repeat(22),
    generation: 0,
    epochs: { user: 1, fleet: 1 },
    proof: { amr: ['pwd'], authenticatedAt: clock.now() },
  }
  return {
    clock,
    counted,
    ring,
    verified,
    verify: createTokenVerifier({ ring, ...settings, verified }),
    issue: async () => (await issue(content)).text,
  }
}
const next = generateKey(null)

function entryOf(validFrom: number): VerifiedToken {
  const token = { user: { id: 'user-1', roles: ['reader'] }, amr: ['pwd'] }
  return { token, validFrom } as unknown as VerifiedToken
}

await t.test('a signature is verified once, and both uses get the same frozen token', async (t) => {
  const { verify, issue, counted } = createCounted()
  const text = await issue()
  const first = verify(text)
  t.equal(verify(text), first)
  t.equal(counted.signatures, 1)
  t.ok(Object.isFrozen(first))
  t.match(first, { user: { id: 'user-1', roles: ['reader'] } })
})

await t.test('an expired token is refused with a warm cache', async (t) => {
  const { verify, issue, clock, counted } = createCounted()
  const text = await issue()
  verify(text)
  clock.advance(899_999)
  t.type(verify(text), 'object')
  clock.advance(1)
  t.equal(verify(text), 'expired')
  t.equal(counted.signatures, 1)
  t.type(verify(text, { evenExpired: true }), 'object')
  t.equal(verify(text), 'expired', 'reading an expired token does not make it valid')
})

await t.test('a token from the future is refused with a warm cache', async (t) => {
  const { verify, issue, counted } = createCounted()
  const text = await issue()
  verify(text)
  counted.clockBackMs = 6000
  t.equal(verify(text), 'claims')
})

await t.test('a retired key is refused with a warm cache', async (t) => {
  const { verify, issue, clock, ring, counted } = createCounted()
  const text = await issue()
  verify(text)
  ring.rotate({ current: next })
  t.type(verify(text), 'object', 'the key is trusted for the overlap')
  t.equal(counted.signatures, 1)
  clock.advance(60_000)
  t.equal(verify(text), 'unknown_key')
})

await t.test('a key that was read again verifies again', async (t) => {
  const { verify, issue, ring, counted, verified } = createCounted()
  const text = await issue()
  verify(text)
  ring.rotate({ current: next, retired: [key] })
  t.type(verify(text), 'object')
  t.type(verify(text), 'object')
  t.equal(counted.signatures, 2)
  t.equal(verified.size, 1)
})

await t.test('nothing is cached for refused tokens', async (t) => {
  const { verify, issue, verified, counted } = createCounted()
  const text = await issue()
  const forged = `${text.slice(0, -4)}AAAA`
  t.equal(verify(forged), 'signature')
  t.equal(verify(forged), 'signature')
  t.equal(counted.signatures, 2)
  for (const broken of ['', 'a.b.c', 'x'.repeat(5000), undefined as never]) {
    t.equal(verify(broken), 'malformed')
  }
  t.equal(verified.size, 0)
})

await t.test('the signature is verified each time with tokenCacheBytes 0', async (t) => {
  const { verify, issue, verified, counted } = createCounted(0)
  const text = await issue()
  verify(text)
  verify(text)
  t.equal(counted.signatures, 2)
  t.equal(verified.size, 0)
})

await t.test('the cache stays within its bytes, and keeps what is used', (t) => {
  const maxBytes = 100_000
  const cache = createVerifiedTokens(maxBytes)
  const entry = entryOf(0)
  cache.add('used', entry)
  let most = 0
  for (let n = 0; n < 10_000; n++) {
    cache.add(`token ${n}`, entry)
    most = Math.max(most, cache.bytes)
    if (cache.find('used') === undefined) t.fail(`a used token was dropped after ${n}`)
  }
  t.ok(most <= maxBytes && most > maxBytes / 2, `${most} bytes at most`)
  t.ok(cache.size > 50 && cache.size < 120, `${cache.size} tokens`)
  t.equal(cache.find('token 0'), undefined)
  cache.add('x'.repeat(maxBytes), entry)
  t.ok(cache.bytes <= maxBytes, 'a token that is longer than the cache is not kept')
  t.end()
})

await t.test('adding a token again counts it once', (t) => {
  const cache = createVerifiedTokens(100_000)
  for (let n = 0; n < 3; n++) cache.add('token', entryOf(n))
  t.equal(cache.size, 1)
  t.equal(cache.bytes, 768 + 5 + 2 * 64)
  t.equal(cache.find('token')?.validFrom, 2)
  t.end()
})

await t.test('every revocation is seen with a warm cache on another instance', async (t) => {
  const store = createMemoryStore()
  const [one, other] = [await build(t, { store }), await build(t, { store })]
  const revocations = {
    session: (grant: { sessionId: string }) =>
      one.app.sessions.revoke({ sessionId: grant.sessionId }),
    user: () => one.app.sessions.revoke({ userId: 'user-1' }),
    everyone: () => one.app.sessions.revoke('everyone'),
  }
  for (const [name, revoke] of Object.entries(revocations)) {
    const grant = await one.start()
    for (const each of [one, other]) {
      for (let use = 0; use < 2; use++) t.equal((await each.ask(grant.accessToken)).status, 200)
    }
    await revoke(grant)
    await one.refuses(grant.accessToken, name)
    await other.refuses(grant.accessToken, `${name}, on the other instance`)
  }
})
