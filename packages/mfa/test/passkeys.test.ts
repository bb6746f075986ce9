import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { MfaProof } from '@parapet/mfa'
import { readVectors, runs } from '@parapet/testing'
import {
  verifyAuthenticationResponse,
  verifyRegistrationResponse,
  type AuthenticationResponseJSON,
  type RegistrationResponseJSON,
} from '@simplewebauthn/server'
import { chromium, type CDPSession, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import type { Passkey } from '../src/account.ts'
import { readAssertion, readRegistration, type PasskeySite } from '../src/ceremonies.ts'
import { Authenticator, FLAGS, ORIGIN, RP_ID } from './authenticator.ts'
import { build, codeAt, enrol, post, type Built } from './helpers.ts'

const passkeys = { rpId: RP_ID, origins: [ORIGIN] }

type Hex = Readonly<Record<string, string>>
interface WebauthnVectors {
  readonly rpId: string
  readonly origin: string
  readonly topOrigin: string
  readonly vectors: readonly { id: string; registration: Hex; authentication: Hex }[]
}

type Verdict = 'accepted' | 'accepted where the site is allowed' | 'user not verified' | 'refused'

/**
 * What becomes of each of the 15 pairs: of its enrolment, of its proof, and of both if a user need not
 * be verified. The last column is what the cryptography says; the others are what this plugin does.
 */
const VERDICTS: Readonly<Record<string, readonly [Verdict, Verdict, boolean, boolean]>> = {
  'none-es256': ['user not verified', 'user not verified', true, true],
  'packed-self-es256': ['accepted', 'user not verified', true, true],
  // In a frame of a site that nobody names; the library lets it pass.
  'none-es256-crossOrigin': ['refused', 'refused', true, true],
  'none-es256-topOrigin': ['user not verified', 'accepted where the site is allowed', true, true],
  'none-es256-long-credential-id': ['user not verified', 'accepted', true, true],
  'packed-es256': ['accepted', 'accepted', true, true],
  'packed-es384': ['user not verified', 'accepted', true, true],
  'packed-es512': ['accepted', 'user not verified', true, true],
  'packed-rs256': ['accepted', 'user not verified', true, true],
  'packed-eddsa': ['user not verified', 'user not verified', true, true],
  // Ed448 is not offered, and the library cannot check its signatures.
  'packed-ed448': ['user not verified', 'refused', true, false],
  // A TPM of the vendor 0, which no list of vendors has.
  'tpm-es256': ['refused', 'accepted', false, true],
  // Its attestation chain has no path.
  'android-key-es256': ['refused', 'user not verified', false, true],
  // Its attestation chain ends in the vectors' own root, which is not Apple's.
  'apple-es256': ['user not verified', 'user not verified', false, true],
  // A U2F key has no AAGUID; this one has.
  'fido-u2f-es256': ['user not verified', 'user not verified', false, true],
}

const b64 = (hex: string): string => Buffer.from(hex, 'hex').toString('base64url')

function registrationOf({ credential_id, clientDataJSON, attestationObject }: Hex) {
  return {
    id: b64(credential_id!),
    rawId: b64(credential_id!),
    type: 'public-key',
    response: { clientDataJSON: b64(clientDataJSON!), attestationObject: b64(attestationObject!) },
    clientExtensionResults: {},
  }
}

function answerOf(id: string, { clientDataJSON, authenticatorData, signature }: Hex) {
  return {
    id,
    rawId: id,
    type: 'public-key',
    response: {
      clientDataJSON: b64(clientDataJSON!),
      authenticatorData: b64(authenticatorData!),
      signature: b64(signature!),
    },
    clientExtensionResults: {},
  }
}

await t.test(
  'each of the 15 pairs of WebAuthn Level 3, section 16, has its stated verdict',
  async (t) => {
    const published = readVectors<WebauthnVectors>(t, 'identity/webauthn-l3-vectors.json')
    if (published === null) return
    const { rpId, origin, topOrigin } = published
    const site: PasskeySite = { rpId, rpName: 'W3C', origins: [origin], topOrigins: [] }
    const framed = { ...site, topOrigins: [topOrigin] }
    t.same(published.vectors.map(({ id }) => id).toSorted(), Object.keys(VERDICTS).toSorted())
    const flips = runs(200, 20_000)
    let mutated = 0
    let accepted = 0
    for (const { id, registration, authentication } of published.vectors) {
      const passkey = storedPasskey(registration)
      const answer = answerOf(passkey.id, authentication)
      const enrolled = (on: PasskeySite) =>
        readRegistration(on, b64(registration['challenge']!), registrationOf(registration), id, 1)
      const proved = (on: PasskeySite, given = answer) =>
        readAssertion(on, b64(authentication['challenge']!), given, passkey)
      const verified = [flagsOf(registration) & FLAGS.UV, flagsOf(authentication) & FLAGS.UV]
      const found = [
        verdictOf(verified[0]!, await enrolled(site), await enrolled(framed)),
        verdictOf(verified[1]!, await proved(site), await proved(framed)),
        await takenByLibrary(published, registration, passkey),
        await takenByLibrary(published, authentication, passkey),
      ]
      t.same(found, VERDICTS[id], id)
      if ((await proved(framed)) === null) continue
      for (let i = 0; i < flips; i++) {
        mutated++
        if ((await proved(framed, mutate(answer))) !== null) accepted++
      }
    }
    t.equal(mutated, 5 * flips)
    t.comment(`${mutated} mutations, ${accepted} accepted`)
    t.equal(accepted, 0, `of ${mutated} answers with one bit flipped`)
  },
)

function verdictOf(verified: number, strict: unknown, framed: unknown): Verdict {
  if (strict !== null) return 'accepted'
  if (framed !== null) return 'accepted where the site is allowed'
  return verified === 0 ? 'user not verified' : 'refused'
}

/** The library alone, not asked to verify the user: whether signature and attestation are in order. */
async function takenByLibrary(published: WebauthnVectors, ceremony: Hex, passkey: Passkey) {
  const expected = {
    expectedChallenge: b64(ceremony['challenge']!),
    expectedOrigin: published.origin,
    expectedRPID: published.rpId,
    requireUserVerification: false,
  }
  const work =
    ceremony['signature'] === undefined
      ? verifyRegistrationResponse({
          ...expected,
          response: registrationOf(ceremony) as RegistrationResponseJSON,
          supportedAlgorithmIDs: [-8, -7, -35, -36, -53, -257],
        })
      : verifyAuthenticationResponse({
          ...expected,
          response: answerOf(passkey.id, ceremony) as AuthenticationResponseJSON,
          expectedTopOrigin: published.topOrigin,
          credential: {
            id: passkey.id,
            publicKey: Uint8Array.from(Buffer.from(passkey.publicKey, 'base64url')),
            counter: 0,
          },
        })
  return work.then(
    ({ verified }) => verified,
    () => false,
  )
}

/** The flags stand behind the hash of the relying party's id. */
function flagsOf({ attestationObject, authenticatorData }: Hex): number {
  const hex = authenticatorData ?? attestationObject!
  const at = hex.indexOf('bfabc37432958b06') + 64
  return Number.parseInt(hex.slice(at, at + 2), 16)
}

/** The passkey as it would be stored, had its attestation been taken: the key is in the authenticator's data. */
function storedPasskey(registration: Hex): Passkey {
  const { attestationObject, credential_id } = registration
  const at = attestationObject!.indexOf(credential_id!) + credential_id!.length
  return {
    id: b64(credential_id!),
    publicKey: b64(attestationObject!.slice(at)),
    counter: 0,
    transports: [],
    name: '',
    createdAt: 0,
    lastUsedAt: 0,
    backedUp: false,
    backupEligible: (flagsOf(registration) & FLAGS.BE) !== 0,
  }
}

/** One bit of what is signed, or of the signature, is another. */
function mutate(answer: ReturnType<typeof answerOf>): ReturnType<typeof answerOf> {
  const fields = ['clientDataJSON', 'authenticatorData', 'signature'] as const
  const field = fields[Math.floor(Math.random() * 3)]!
  const bytes = Buffer.from(answer.response[field], 'base64url')
  bytes[Math.floor(Math.random() * bytes.length)]! ^= 1 << Math.floor(Math.random() * 8)
  return { ...answer, response: { ...answer.response, [field]: bytes.toString('base64url') } }
}

/** Enrols a passkey through the API. */
async function enrolPasskey({ app }: Built, user: string, device = new Authenticator()) {
  const options = await app.mfa.passkeys.registrationOptions({ id: user, name: user })
  device.userHandle = options.user.id
  await app.mfa.passkeys.register(user, device.create({ challenge: options.challenge }), 'Laptop')
  return device
}

const challengeFor = async ({ app }: Built, user: string | null) =>
  (await app.mfa.passkeys.assertionOptions(user)).challenge

await t.test('a passkey is enrolled, listed, proved, renamed and revoked', async (t) => {
  const built = await build(t, { passkeys })
  const { app, as, events } = built
  app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
  const begun = await as('alice', post('/mfa/passkeys/options'))
  const options = begun.json<{ challenge: string; user: { id: string; name: string } }>()
  t.match(options, {
    rp: { id: 'example.org', name: 'Acme' },
    user: { name: 'alice' },
    attestation: 'none',
    authenticatorSelection: { residentKey: 'required', userVerification: 'required' },
  })
  t.equal(Buffer.from(options.user.id, 'base64url').length, 32, 'a handle that says nothing')
  const device = new Authenticator()
  device.userHandle = options.user.id
  const made = { name: 'Laptop', response: device.create({ challenge: options.challenge }) }
  const added = await as('alice', post('/mfa/passkeys', made))
  t.equal(added.statusCode, 201)
  t.notMatch(added.body, /publicKey/)
  const strict = await as('alice', { url: '/strict' })
  t.match(strict.headers['www-authenticate'], /acr_values="phr"/)
  const asked = (await as('alice', post('/mfa/passkeys/verify/options'))).json<{
    challenge: string
  }>()
  t.match(asked, { allowCredentials: [{ id: device.id }], userVerification: 'required' })
  const answer = { response: device.get({ challenge: asked.challenge, counter: 1 }) }
  const proved = await as('alice', post('/mfa/passkeys/verify', answer))
  t.equal(proved.statusCode, 200)
  t.match(proved.json(), { method: 'passkey', aal: 2, amr: ['pwd', 'hwk', 'user', 'mfa'] })
  t.equal((await as('alice', { url: '/strict' })).statusCode, 200)
  const replay = await as('alice', post('/mfa/passkeys/verify', answer))
  t.equal(replay.statusCode, 409)
  t.match(events.at(-1), { type: 'mfa.replayed', details: { method: 'passkey' } })
  const url = `/mfa/passkeys/${device.id}`
  t.equal((await as('alice', { method: 'PATCH', url, payload: { name: 'Work' } })).statusCode, 204)
  t.match((await as('alice', { url: '/mfa' })).json(), {
    enrolled: true,
    passkeys: [{ name: 'Work' }],
  })
  t.equal((await as('alice', { method: 'DELETE', url })).statusCode, 204)
  t.equal((await as('alice', { method: 'DELETE', url })).statusCode, 404)
  await t.rejects(app.mfa.passkeys.revoke('alice', device.id), { code: 'PARAPET_MFA_NOT_FOUND' })
  await t.rejects(app.mfa.passkeys.rename('alice', device.id, 'x'), {
    code: 'PARAPET_MFA_NOT_FOUND',
  })
  const late = device.get({ challenge: await challengeFor(built, 'alice'), counter: 2 })
  await t.rejects(app.mfa.passkeys.verify('alice', late), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
})

await t.test('what is wrong with an enrolment is refused', async (t) => {
  const built = await build(t, { passkeys })
  const { app } = built
  const fresh = async () =>
    (await app.mfa.passkeys.registrationOptions({ id: 'alice', name: 'alice' })).challenge
  const device = new Authenticator()
  const { UP, UV } = FLAGS
  const refused: Record<string, object> = {
    'another origin': { origin: 'https://example.org.evil.test' },
    'a page in a frame': { crossOrigin: true },
    'a page in a named frame': { crossOrigin: true, topOrigin: 'https://evil.test' },
    'a top origin without a frame': { topOrigin: 'https://evil.test' },
    'another relying party': { rpId: 'evil.test' },
    'no user verified': { flags: UP },
    'no user present': { flags: UV },
    'the other ceremony': { type: 'webauthn.get' },
  }
  for (const [name, fault] of Object.entries(refused)) {
    const response = device.create({ challenge: await fresh(), ...fault })
    await t.rejects(
      app.mfa.passkeys.register('alice', response, 'x'),
      {
        code: 'PARAPET_MFA_PASSKEY_REFUSED',
        statusCode: 403,
      },
      name,
    )
  }
  const renamed = { ...device.create({ challenge: await fresh() }), id: 'AAAA', rawId: 'AAAA' }
  await t.rejects(app.mfa.passkeys.register('alice', renamed, 'x'), {
    code: 'PARAPET_MFA_PASSKEY_REFUSED',
  })
  const challenge = await fresh()
  await t.rejects(app.mfa.passkeys.register('bob', device.create({ challenge }), 'x'), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
  for (const response of [null, {}, { response: {} }, { response: { clientDataJSON: 'e30' } }]) {
    await t.rejects(app.mfa.passkeys.register('alice', response, 'x'), {
      code: 'PARAPET_MFA_CHALLENGE_REFUSED',
    })
  }
  await enrolPasskey(built, 'alice', device)
  const again = await app.mfa.passkeys.registrationOptions({ id: 'bob', name: 'bob' })
  t.same(again.excludeCredentials, [])
  await t.rejects(
    app.mfa.passkeys.register('bob', device.create({ challenge: again.challenge }), 'x'),
    { code: 'PARAPET_MFA_PASSKEY_NOT_ADDED', statusCode: 409 },
  )
  for (let i = 1; i < 20; i++) await enrolPasskey(built, 'alice')
  await t.rejects(enrolPasskey(built, 'alice'), { code: 'PARAPET_MFA_PASSKEY_NOT_ADDED' })
  t.equal((await app.mfa.passkeys.list('alice')).length, 20)
})

await t.test('an attestation that nobody asked for is not even looked at', async (t) => {
  const site: PasskeySite = { rpId: RP_ID, rpName: 'x', origins: [ORIGIN], topOrigins: [] }
  const device = new Authenticator()
  const challenge = Buffer.alloc(32).toString('base64url')
  const response = device.createAttested({ challenge })
  const expected = { expectedChallenge: challenge, expectedOrigin: ORIGIN, expectedRPID: RP_ID }
  t.match(await verifyRegistrationResponse({ ...expected, response }), { verified: true })
  t.equal(await readRegistration(site, challenge, response, 'Key', 1), null)
  t.ok(await readRegistration(site, challenge, device.create({ challenge }), 'Key', 1))
})

await t.test('the signature is checked before the counter, and a clone is told', async (t) => {
  const built = await build(t, { passkeys })
  const { app, events } = built
  const device = await enrolPasskey(built, 'alice')
  const ask = async (fault: object = {}, user: string | null = 'alice') => {
    const answer = device.get({ challenge: await challengeFor(built, user), counter: 5, ...fault })
    return app.mfa.passkeys.verify(user, answer)
  }
  t.ok(await ask())
  const forged = device.get({ challenge: await challengeFor(built, 'alice'), counter: 5 })
  forged.response.signature = Buffer.alloc(70).toString('base64url')
  await t.rejects(app.mfa.passkeys.verify('alice', forged), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  t.match(events.at(-1), { severity: 'low', details: { reason: 'signature' } }, 'no false alarm')
  await t.rejects(ask({ counter: 5 }), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  t.match(events.at(-1), { type: 'mfa.failed', severity: 'high', details: { reason: 'counter' } })
  await t.rejects(ask({ counter: 0 }), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  t.ok(await ask({ counter: 6 }))
  const { UP, UV, BE } = FLAGS
  const refused: Record<string, object> = {
    'another origin': { origin: 'https://evil.test' },
    'a frame': { crossOrigin: true },
    'another relying party': { rpId: 'evil.test' },
    'no user verified': { flags: UP },
    'no user present': { flags: UV },
    'a passkey that can be copied all at once': { flags: UP | UV | BE },
    "another user's handle": { userHandle: Buffer.alloc(32).toString('base64url') },
    'the other ceremony': { type: 'webauthn.create' },
  }
  for (const [name, fault] of Object.entries(refused)) {
    await t.rejects(ask({ counter: 9, ...fault }), { code: 'PARAPET_MFA_PASSKEY_REFUSED' }, name)
  }
  await t.rejects(ask({ counter: 9, userHandle: null }, null), {
    code: 'PARAPET_MFA_PASSKEY_REFUSED',
  })
  const stranger = new Authenticator()
  const unknown = stranger.get({ challenge: await challengeFor(built, null) })
  await t.rejects(app.mfa.passkeys.verify(null, unknown), { code: 'PARAPET_MFA_PASSKEY_REFUSED' })
  const swapped = device.get({ challenge: await challengeFor(built, null), counter: 9 })
  await t.rejects(app.mfa.passkeys.verify('alice', swapped), {
    code: 'PARAPET_MFA_CHALLENGE_REFUSED',
  })
  t.equal((await ask({ counter: 9 }, null)).userId, 'alice')
})

await t.test('a frame of an allowed site may ask', async (t) => {
  const topOrigin = 'https://portal.example.com'
  const built = await build(t, { passkeys: { ...passkeys, topOrigins: [topOrigin] } })
  const device = await enrolPasskey(built, 'alice')
  const challenge = await challengeFor(built, 'alice')
  const answer = device.get({ challenge, crossOrigin: true, topOrigin })
  t.ok(await built.app.mfa.passkeys.verify('alice', answer))
})

await t.test('a role that wants passkeys lets a user of codes enrol one', async (t) => {
  const built = await build(t, { passkeys, roles: { admin: { phishingResistant: true } } })
  const { app, as, clock } = built
  app.get('/plain', async () => 'plain')
  const { secret } = await enrol(built, 'alice')
  const roles = 'admin'
  await as('alice', { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), roles })
  const unable = await as('alice', { url: '/plain', roles })
  t.equal(unable.statusCode, 403)
  t.match(unable.json(), { code: 'PARAPET_MFA_ENROLMENT_REQUIRED' })
  t.equal((await as('alice', { ...post('/mfa/passkeys/options'), roles })).statusCode, 200)
  const device = await enrolPasskey(built, 'alice')
  t.equal((await as('alice', { url: '/plain', roles })).statusCode, 401)
  const challenge = await challengeFor(built, 'alice')
  await as('alice', {
    ...post('/mfa/passkeys/verify', { response: device.get({ challenge }) }),
    roles,
  })
  t.equal((await as('alice', { url: '/plain', roles })).statusCode, 200)
})

/** The page's side: JSON from the server to the browser and back. */
const PAGE = `<!doctype html><title>mfa</title><input autocomplete="username webauthn"><script>
  const call = async (method, url, body) => {
    const user = sessionStorage.user
    const headers = { ...(body && { 'content-type': 'application/json' }), ...(user && { 'x-user': user, 'x-session': 's1' }) }
    const reply = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) })
    const text = await reply.text()
    return { status: reply.status, ...(text && JSON.parse(text)) }
  }
  const attempt = async (work) => { try { return await work() } catch (error) { return { name: error.name } } }
  const register = () => attempt(async () => {
    const json = await call('POST', '/mfa/passkeys/options')
    if (json.status !== 200) return json
    const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(json)
    const response = (await navigator.credentials.create({ publicKey })).toJSON()
    return call('POST', '/mfa/passkeys', { name: 'Key', response })
  })
  const prove = (path, options = {}) => attempt(async () => {
    const json = await call('POST', path + '/options')
    const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(json)
    const response = (await navigator.credentials.get({ publicKey, ...options })).toJSON()
    window.last = { path, response }
    return call('POST', path, { response })
  })
  const replay = () => call('POST', last.path, { response: last.response })
</script>`

interface Answered {
  readonly status?: number
  readonly name?: string
  readonly code?: string
  readonly id?: string
  readonly user?: string
  readonly passkeys?: readonly { id: string }[]
}

async function openBrowser(t: Test): Promise<{ page: Page; cdp: CDPSession } | null> {
  const executablePath = '/usr/bin/chromium'
  if (!existsSync(executablePath)) {
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail('no chromium: install it')
    else t.pass('needs chromium', { skip: 'no chromium' })
    return null
  }
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  t.teardown(() => browser.close())
  const page = await browser.newPage()
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('WebAuthn.enable')
  return { page, cdp }
}

const AUTHENTICATOR = {
  protocol: 'ctap2',
  ctap2Version: 'ctap2_1',
  transport: 'internal',
  hasResidentKey: true,
  hasUserVerification: true,
  isUserVerified: true,
  automaticPresenceSimulation: true,
} as const

const signIn = async ({ userId: user, amr }: MfaProof) => ({ user, amr })

await t.test('a real browser goes through every ceremony', async (t) => {
  const opened = await openBrowser(t)
  if (opened === null) return
  const { page, cdp } = opened
  // The port is known once a server listens, and the plugin reads its options before.
  const server = createServer((request, reply) => app.routing(request, reply))
  t.teardown(() => server.close().closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const origins = [`http://localhost:${port}`]
  const { app } = await build(t, { passkeys: { rpId: 'localhost', origins }, signIn })
  app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
  app.get(
    '/transfer',
    { config: { mfa: { maxAgeSeconds: 60, phishingResistant: true } } },
    async () => ({}),
  )
  await app.ready()
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: AUTHENTICATOR,
  })
  const run = (script: string) => page.evaluate<Answered>(script)
  await page.goto(`http://localhost:${port}/`)
  await page.evaluate(`sessionStorage.user = 'alice'`)

  const made = await run('register()')
  t.equal(made.status, 201, 'register')
  t.equal((await run('register()')).status, 401, 'a second one needs a proof')
  t.equal(
    (await run(`call('GET', '/transfer')`)).code,
    'PARAPET_MFA_STEP_UP_REQUIRED',
    'step-up asked',
  )
  t.equal((await run(`prove('/mfa/passkeys/verify')`)).status, 200, 'proved')
  t.equal((await run(`call('GET', '/transfer')`)).status, 200, 'step-up passed')
  t.equal((await run('register()')).name, 'InvalidStateError', 'exclude')
  t.equal((await run('replay()')).code, 'PARAPET_MFA_CHALLENGE_REFUSED', 'replay')

  await page.evaluate('sessionStorage.clear()')
  t.match(await run(`prove('/mfa/passkeys/login')`), { status: 200, user: 'alice' }, 'usernameless')
  t.equal((await run('replay()')).status, 409, 'replay of a sign-in')
  const conditional = await run(`prove('/mfa/passkeys/login', { mediation: 'conditional' })`)
  t.match(conditional, { status: 200, user: 'alice' }, 'conditional UI')

  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false })
  t.equal(
    (await run(`prove('/mfa/passkeys/login')`)).name,
    'NotAllowedError',
    'the user not verified',
  )
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true })

  const { credentials } = await cdp.send('WebAuthn.getCredentials', { authenticatorId })
  await cdp.send('WebAuthn.removeCredential', {
    authenticatorId,
    credentialId: credentials[0]!.credentialId,
  })
  await cdp.send('WebAuthn.addCredential', {
    authenticatorId,
    credential: { ...credentials[0]!, signCount: 1 },
  })
  t.equal(
    (await run(`prove('/mfa/passkeys/login')`)).code,
    'PARAPET_MFA_PASSKEY_REFUSED',
    'a clone',
  )

  await page.goto(`http://127.0.0.1:${port}/`)
  t.equal((await run(`prove('/mfa/passkeys/login')`)).name, 'SecurityError', 'another origin')

  await page.goto(`http://localhost:${port}/`)
  await app.mfa.passkeys.revoke('alice', made.id!)
  t.equal(
    (await run(`prove('/mfa/passkeys/login')`)).code,
    'PARAPET_MFA_PASSKEY_REFUSED',
    'revoked',
  )
})

await t.test(
  'a session that signed in with a passkey keeps its level with a fresh code',
  async (t) => {
    const built = await build(t, { passkeys })
    const { app, as, clock } = built
    app.get('/fresh', { config: { mfa: { maxAgeSeconds: 60 } } }, async () => 'fresh')
    app.get('/strict', { config: { mfa: { phishingResistant: true } } }, async () => 'strict')
    const { secret } = await enrol(built, 'alice')
    const device = await enrolPasskey(built, 'alice')
    const amr = 'hwk,user,mfa'
    const verify = () =>
      as('alice', { ...post('/mfa/verify', { code: codeAt(secret, clock.now()) }), amr })
    t.match((await verify()).json(), { aal: 1 }, 'two things one has are one kind')
    t.equal((await as('alice', { url: '/fresh' })).statusCode, 401)
    const answer = device.get({ challenge: await challengeFor(built, null) })
    await app.mfa.assure(await app.mfa.passkeys.verify(null, answer), 's1')
    clock.advance(120_000)
    t.equal((await as('alice', { url: '/fresh' })).statusCode, 401)
    await verify()
    t.equal((await as('alice', { url: '/fresh' })).statusCode, 200)
    t.equal((await as('alice', { url: '/strict' })).statusCode, 200, 'and what the passkey proved')
  },
)
