/** Attacks on the login. */
import { randomUUID } from 'node:crypto'
import { must, requireRefusal, requireSame, type Step } from '../step.ts'
import { tokenOf, type Target } from '../target.ts'

const BLOCKED = 'PARAPET_ANOMALY_GUARD_BLOCKED'
// What was tried in an earlier campaign is known to the server.
const campaign = randomUUID().slice(0, 8)
const guess = (index: number) => `not-the-password-${campaign}-${index}`

const RULES = '/api/v1/security/rules'
const CONTAINMENTS = '/api/v1/security/containments'
const rules = ['brute-force', 'spraying', 'scanner', 'payloads', 'mass-export'] as const

/** Lifts at the end what contains the attackers and the demo users, but did not before. */
async function liftLater(target: Target, token: string): Promise<void> {
  const list = async () => {
    const { body } = await target.nextClient().send('GET', `${CONTAINMENTS}?limit=100`, { token })
    return body['items'] as readonly { readonly id: string; readonly target: string }[]
  }
  const before = new Set((await list()).map(({ id }) => id))
  target.undoLater('containments', async () => {
    for (const { id, target: contained } of await list()) {
      if (before.has(id)) continue
      const path = `${CONTAINMENTS}/${id}`
      const { status } = await target.nextClient().send('DELETE', path, { token })
      must(status === 204 || status === 404, `${contained} is still contained: ${status}`)
    }
  })
}

/** The rules of anomaly-guard begin by recording only; an administrator promotes them. */
export const promoteRules: Step = {
  name: 'Prepare the defence',
  tries: 'the administrator lets five rules contain instead of only recording',
  seenIn: 'console › anomalies › rules',
  async run(target) {
    const token = await tokenOf(target, 'admin')
    await liftLater(target, token)
    const list = await target.nextClient().send('GET', RULES, { token })
    const modes = new Map(
      (list.body['items'] as readonly { readonly name: string; readonly mode: string }[]).map(
        ({ name, mode }) => [name, mode],
      ),
    )
    for (const rule of rules) {
      const setMode = async (mode: string) => {
        const path = `${RULES}/${rule}/mode`
        const { status } = await target.nextClient().send('PUT', path, { token, body: { mode } })
        must(status === 204, `${rule} could not be set to ${mode}: ${status}`)
      }
      const before = modes.get(rule)
      must(before !== undefined, `there is no rule ${rule}`)
      target.undoLater(`the mode of the rule ${rule}`, () => setMode(before))
      await setMode('enforce')
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
      const answer = await attacker.logIn(`user-${campaign}-${index}@example.com`, guess(index))
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
      const answer = await attacker.logIn(
        `staff-${campaign}-${index}@example.com`,
        `Summer${campaign}!x`,
      )
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
      const { status } = await attacker.logIn(
        `crew-${campaign}-${index}@example.com`,
        `Winter${campaign}!x`,
      )
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

async function deleteUser(target: Target, token: string, email: string): Promise<void> {
  let cursor: string | undefined
  do {
    const query = cursor === undefined ? '' : `&cursor=${cursor}`
    const path = `/api/v1/users?limit=100${query}`
    const { body } = await target.nextClient().send('GET', path, { token })
    const items = body['items'] as readonly { readonly id: string; readonly email: string }[]
    const found = items.find((user) => user.email === email)
    if (found !== undefined) {
      const own = `/api/v1/users/${found.id}`
      const { status } = await target.nextClient().send('DELETE', own, { token })
      must(status === 204, `${email} could not be deleted: ${status}`)
      return
    }
    const next = body['nextCursor']
    cursor = typeof next === 'string' ? next : undefined
  } while (cursor !== undefined)
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
    const email = `attack-${campaign}@example.com`
    const token = await tokenOf(target, 'admin')
    target.undoLater('the registration', () => deleteUser(target, token, email))
    const taken = await register(email)
    const again = await register(email)
    requireSame([taken.status, taken.body], [again.status, again.body], 'the registration tells it')
    return `the same ${known.status} and ${taken.status} for both`
  },
}
