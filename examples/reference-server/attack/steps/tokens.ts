/** Attacks with stolen and forged credentials. */
import { URI, type TOTP } from 'otpauth'
import { must, requireRefusal, type Step } from '../step.ts'
import { tokenOf } from '../target.ts'

const REFRESH = '/api/v1/auth/refresh'
const ME = '/api/v1/users/me'

const encode = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')

export const tokenTheft: Step = {
  name: 'Token theft',
  tries: 'uses a stolen refresh token after its owner has used it',
  seenIn: 'console › live feed: sessions.reuse_detected',
  async run(target) {
    const { login, password } = target.loginOf('editor')
    const owner = target.nextClient()
    const { body } = await owner.logIn(login, password)
    const stolen = String(body['refresh_token'])
    const refresh = (token: string, client = owner) =>
      client.send('POST', REFRESH, { body: { refresh_token: token } })
    const once = await refresh(stolen)
    must(once.status === 200, `the owner could not refresh: ${once.status}`)
    const twice = await refresh(String(once.body['refresh_token']))
    must(twice.status === 200, `the owner could not refresh again: ${twice.status}`)
    const reuse = requireRefusal(await refresh(stolen, target.nextClient()), 401)
    const after = await owner.send('GET', ME, { token: String(twice.body['access_token']) })
    requireRefusal(after, 401)
    return `${reuse}; the whole session has ended`
  },
}

export const forgedToken: Step = {
  name: 'Role tampering in a token',
  tries: 'writes the role admin into an access token: with the old signature, and with alg none',
  seenIn: 'console › live feed: sessions.token_refused',
  async run(target) {
    const [head = '', payload = '', signature = ''] = (await tokenOf(target, 'viewer')).split('.')
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString()) as object
    const admin = encode({ ...claims, roles: ['admin'] })
    const forged = [
      `${head}.${admin}.${signature}`,
      `${encode({ alg: 'none', typ: 'at+jwt' })}.${admin}.`,
    ]
    let refusal = ''
    for (const token of forged) {
      refusal = requireRefusal(
        await target.nextClient().send('GET', '/api/v1/users', { token }),
        401,
      )
    }
    return refusal
  },
}

export const totpReplay: Step = {
  name: 'TOTP replay',
  tries: 'reads a one-time code over the shoulder and uses it a second time',
  seenIn: 'console › live feed: mfa.replayed',
  async run(target) {
    const { login, password } = target.loginOf('viewer')
    const owner = target.nextClient()
    const first = await owner.logIn(login, password)
    const token = String(first.body['access_token'])
    const begun = await owner.send('POST', '/api/v1/mfa/totp', { token })
    const totp = URI.parse(String(begun.body['uri'])) as TOTP
    const confirmation = { ticket: begun.body['ticket'], code: totp.generate() }
    const confirmed = await owner.send('POST', '/api/v1/mfa/totp/confirm', {
      token,
      body: confirmation,
    })
    must(confirmed.status === 200, `the app could not be enrolled: ${confirmed.status}`)
    // A proof replaces the token.
    const given = confirmed.body['access_token']
    let proven = typeof given === 'string' ? given : token
    target.undoLater("the viewer's second factor", async () => {
      const { status } = await owner.send('DELETE', '/api/v1/mfa/totp', { token: proven })
      must(status === 204, `it could not be removed: ${status}`)
    })

    const code = totp.generate({ timestamp: Date.now() + 30_000 })
    const finish = async (client = owner) => {
      const { body } = await client.logIn(login, password)
      return client.send('POST', '/api/v1/auth/login/second-factor', {
        body: { ticket: body['ticket'], code },
      })
    }
    const finished = await finish()
    must(finished.status === 200, 'the owner could not log in with the code')
    proven = String(finished.body['access_token'])
    return requireRefusal(await finish(target.nextClient()), 409, 'PARAPET_MFA_CODE_USED')
  },
}
