import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { MfaProof } from '@parapet/mfa'
import { chromium, type CDPSession, type Page } from 'playwright-core'
import t, { type Test } from 'tap'
import { build } from './helpers.ts'

/** The page: it passes JSON between the server and the browser's WebAuthn API. */
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
  t.after(() => browser.close())
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

/** A security key without a PIN. */
const SECURITY_KEY = {
  protocol: 'ctap2',
  transport: 'usb',
  hasResidentKey: false,
  hasUserVerification: false,
  automaticPresenceSimulation: true,
} as const

const signIn = async ({ userId: user, amr }: MfaProof) => ({ user, amr })

/** Serves the page on a port of its own; the plugin is registered with the page's origin. */
async function serve(t: Test, userVerification: 'required' | 'preferred') {
  // The plugin needs the origin as an option, so the port must be known before it is registered.
  const server = createServer((request, reply) => built.app.routing(request, reply))
  t.after(() => server.close().closeAllConnections())
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const origins = [`http://localhost:${port}`]
  const passkeys = { rpId: 'localhost', origins, userVerification }
  const built = await build(t, { passkeys, signIn })
  built.app.get('/', (_request, reply) => reply.type('text/html').send(PAGE))
  return { ...built, port }
}

await t.test('Chromium with a virtual authenticator completes every ceremony', async (t) => {
  const opened = await openBrowser(t)
  if (opened === null) return
  const { page, cdp } = opened
  const { app, port } = await serve(t, 'required')
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

for (const userVerification of ['required', 'preferred'] as const) {
  await t.test(
    `a security key without a PIN, with user verification ${userVerification}`,
    async (t) => {
      const opened = await openBrowser(t)
      if (opened === null) return
      const { page, cdp } = opened
      const { app, port } = await serve(t, userVerification)
      await app.ready()
      await cdp.send('WebAuthn.addVirtualAuthenticator', { options: SECURITY_KEY })
      const run = (script: string) => page.evaluate<Answered>(script)
      await page.goto(`http://localhost:${port}/`)
      await page.evaluate(`sessionStorage.user = 'alice'`)
      const made = await run('register()')
      if (userVerification === 'required') {
        t.equal(made.name, 'NotAllowedError', 'the browser offers no such key')
        return
      }
      t.match(made, { status: 201, id: /^[\w-]{16}$/ })
      t.match(await run(`prove('/mfa/passkeys/verify')`), {
        status: 200,
        aal: 2,
        method: 'passkey',
      })
      const revoked = await run(`call('DELETE', '/mfa/passkeys/${made.id}')`)
      t.equal(revoked.status, 204, 'by its short id')
    },
  )
}
