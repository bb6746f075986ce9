/** Attacks on the login. */
import { must, requireRefusal, requireSame, type Step } from '../step.ts'
import { tokenOf } from '../target.ts'

const BLOCKED = 'PARAPET_ANOMALY_GUARD_BLOCKED'
const guess = (index: number) => `not-the-password-${index}`

/** The rules of anomaly-guard begin by recording only; an administrator promotes them. */
export const promoteRules: Step = {
  name: 'Prepare the defence',
  tries: 'the administrator lets five rules contain instead of only recording',
  seenIn: 'console › anomalies › rules',
  async run(target) {
    const token = await tokenOf(target, 'admin')
    const rules = ['brute-force', 'spraying', 'scanner', 'payloads', 'mass-export']
    for (const rule of rules) {
      const path = `/api/v1/security/rules/${rule}/mode`
      const { status } = await target
        .nextClient()
        .send('PUT', path, { token, body: { mode: 'enforce' } })
      must(status === 204, `${rule} could not be promoted: ${status}`)
    }
    return `${rules.length} rules enforce`
  },
}

export const bruteForce: Step = {
  name: 'Brute force',
  tries: 'one address guesses the password of one account, again and again',
  seenIn: 'console › live feed: sessions.login_failed, rate_limits.exceeded',
  async run(target) {
    const attacker = target.nextClient()
    const { login } = target.loginOf('editor')
    const statuses: number[] = []
    for (let index = 0; index < 6; index++) {
      statuses.push((await attacker.logIn(login, guess(index))).status)
    }
    must(!statuses.includes(200), 'a wrong password was accepted')
    const last = requireRefusal(await attacker.logIn(login, guess(7)), [403, 429])
    return `${last} after ${statuses.filter((status) => status === 401).length} guesses`
  },
}

export const stuffing: Step = {
  name: 'Credential stuffing',
  tries: 'one address tries stolen pairs of name and password, each once',
  seenIn: 'console › block list: the address, with the reason credential_stuffing',
  async run(target) {
    const attacker = target.nextClient()
    for (let index = 0; index < 8; index++) {
      const answer = await attacker.logIn(`user-${index}@example.com`, guess(index))
      if (answer.status === 403) break
    }
    const refused = await attacker.send('GET', '/api/v1/artists')
    const block = requireRefusal(refused, 403, BLOCKED)
    const honest = await target.nextClient().send('GET', '/api/v1/artists')
    must(honest.status === 200, 'an honest client was refused as well')
    return `${block}; other addresses are served`
  },
}

export const spraying: Step = {
  name: 'Password spraying',
  tries: 'one address tries one popular password on ten accounts',
  seenIn: 'console › anomalies: the address, with the number of accounts',
  async run(target) {
    const attacker = target.nextClient()
    const statuses: number[] = []
    for (let index = 0; index < 10; index++) {
      const answer = await attacker.logIn(`staff-${index}@example.com`, 'Summer2027!x')
      statuses.push(answer.status)
    }
    must(!statuses.includes(200), 'the password was accepted')
    const block = requireRefusal(await attacker.send('GET', '/api/v1/artists'), 403, BLOCKED)
    return `${block} after ${statuses.filter((status) => status === 401).length} accounts`
  },
}

export const spreadSpraying: Step = {
  name: 'Spraying from many addresses',
  tries: 'ten addresses try one popular password on ten accounts, once each',
  seenIn: 'console › anomalies: spraying, with the number of accounts',
  async run(target) {
    const attackers = Array.from({ length: 10 }, () => target.nextClient())
    for (const [index, attacker] of attackers.entries()) {
      const { status } = await attacker.logIn(`crew-${index}@example.com`, 'Winter2027!x')
      must(status === 401, `attempt ${index + 1} got ${status}`)
    }
    // The first seven are what honest people do, too.
    const last = await attackers.at(-1)!.send('GET', '/api/v1/artists')
    const challenge = requireRefusal(last, 428, 'PARAPET_ANOMALY_GUARD_CHALLENGE_REQUIRED')
    const honest = await target.nextClient().send('GET', '/api/v1/artists')
    must(honest.status === 200, 'an honest client was refused as well')
    return `${challenge}; other addresses are served`
  },
}

export const enumeration: Step = {
  name: 'Account enumeration',
  tries: 'compares the answers for addresses that are registered and those that are not',
  seenIn: 'console › live feed: users.registration_repeated',
  async run(target) {
    const { login } = target.loginOf('viewer')
    const client = target.nextClient()
    const known = await client.logIn(login, guess(1))
    const unknown = await client.logIn('nobody@example.com', guess(1))
    requireSame(
      [known.status, known.body['code'], known.body['detail']],
      [unknown.status, unknown.body['code'], unknown.body['detail']],
      'the login tells who has an account',
    )
    const register = (email: string) =>
      target.nextClient().send('POST', '/api/v1/users', {
        body: { email, displayName: 'Guess', password: 'correct horse battery staple' },
      })
    const taken = await register('press@example.com')
    const again = await register('press@example.com')
    requireSame([taken.status, taken.body], [again.status, again.body], 'the registration tells it')
    return `the same ${known.status} and ${taken.status} for both`
  },
}
