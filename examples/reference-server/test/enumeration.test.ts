/**
 * A client cannot find out who has an account: sign-up, login, reset, verification and the options for a login with a
 * passkey give known and unknown addresses one answer in one time. What the test would see is in its output.
 */
import { randomInt } from 'node:crypto'
import { uuidV7 } from '@parapet/kit'
import { hashPassword } from '@parapet/sessions'
import { comparePairs, runs } from '@parapet/testing'
import t from 'tap'
import { createTestApp, openDatabase, password } from './support/test-app.ts'

const PAIRS = runs(40, 1000)
const database = await openDatabase(t)
const passwordHash = await hashPassword(password)

const known = (pair: number): string => `known${pair}@example.com`
const unknown = (): string => `u${randomInt(1e12).toString(36)}@example.com`
const signUp = (email: string) => ({ email, displayName: 'Someone', password })

interface Asked {
  readonly path: string
  readonly body: (email: string) => object
  /** Whether the known accounts have verified their address. @default true */
  readonly isVerified?: boolean
}

const routes: Readonly<Record<string, Asked>> = {
  'sign-up': { path: '/users', body: signUp },
  'sign-up before the verification': { path: '/users', body: signUp, isVerified: false },
  login: { path: '/auth/login', body: (login) => ({ login, password: 'a wrong password' }) },
  reset: { path: '/auth/password/forgot', body: (email) => ({ email }) },
  verification: {
    path: '/auth/email/verification',
    body: (email) => ({ email }),
    isVerified: false,
  },
  'passkey options': { path: '/mfa/passkeys/login/options', body: (login) => ({ login }) },
}

for (const [name, { path, body, isVerified = true }] of Object.entries(routes)) {
  await t.test(`${name}: known and unknown addresses get one answer in one time`, async (t) => {
    const { app } = await createTestApp(t, database)
    for (let pair = -2; pair < PAIRS; pair++) {
      await database.sql.query(
        `INSERT INTO users (id, email, display_name, password_hash, email_verified_at)
         VALUES ($1, $2, 'Someone', $3, $4)`,
        [uuidV7(), known(pair), passwordHash, isVerified ? new Date() : null],
      )
    }
    const answers = new Set<string>()
    let clients = 0
    const send = async (email: string): Promise<void> => {
      const client = ++clients
      const reply = await app.inject({
        method: 'POST',
        url: `/api/v1${path}`,
        payload: body(email),
        // Limits count by address.
        remoteAddress: `10.${client >> 16}.${(client >> 8) & 255}.${client & 255}`,
      })
      const text = reply.body.replace(/"(?:requestId|challenge)":"[^"]+"/, '')
      const names = Object.keys(reply.headers).toSorted()
      answers.add(JSON.stringify([reply.statusCode, text, names]))
    }
    // The first calls load libraries and make the decoy.
    for (const pair of [-1, -2]) {
      await send(known(pair))
      await send(unknown())
    }
    // Made before, so that only the requests are timed.
    const unknownAddresses = Array.from({ length: PAIRS }, unknown)
    const { deviations, text } = await comparePairs(PAIRS, [
      (pair) => send(known(pair)),
      (pair) => send(unknownAddresses[pair]!),
    ])
    t.equal(answers.size, 1, [...answers].join('\n'))
    t.ok(deviations < 5, `the known address was ${text}`)
  })
}

await t.test('the options for a login with a passkey ask for no name and know none', async (t) => {
  const { app, register } = await createTestApp(t, database)
  const { email, id } = await register('viewer')
  const url = '/api/v1/mfa/passkeys/login/options'
  for (const payload of [{}, { login: email }, { userId: id }, { login: unknown() }]) {
    const reply = await app.inject({ method: 'POST', url, payload })
    t.equal(reply.statusCode, 200)
    t.same(Object.keys(reply.json<object>()), ['rpId', 'challenge', 'timeout', 'userVerification'])
  }
})
