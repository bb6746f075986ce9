/**
 * Known and unknown accounts cannot be told apart: the same bodies and statuses, and the same durations. What the test
 * would see is in its output. A sign-up is a route of the application: see the test of the reference server, which
 * compares it, and the options for a login with a passkey.
 */
import { randomInt } from 'node:crypto'
import { systemClock } from '@parapet/kit'
import { comparePairs, runs } from '@parapet/testing'
import t from 'tap'
import { buildAccounts, passwordHash } from './accounts.ts'

const unknownAddress = (): string => `u${randomInt(1e12).toString(36)}@example.com`
/** One account for each pair: an address gets few messages in an hour. */
const knownAddress = (pair: number): string => `known${pair}@example.com`
const PAIRS = runs(60, 1000)

const routes: readonly (readonly [name: string, path: string, body: (email: string) => object])[] =
  [
    ['reset', '/password/forgot', (email) => ({ email })],
    ['verification', '/email/verification', (email) => ({ email })],
    ['magic link', '/login/magic-link', (email) => ({ email })],
    ['login', '/login', (login) => ({ login, password: 'a wrong password' })],
  ]

for (const [name, path, body] of routes) {
  await t.test(`${name}: known and unknown addresses get one answer in one time`, async (t) => {
    // The clock of the jobs as well: messages wait until the answers are sent.
    const { post, table } = await buildAccounts(t, { clock: systemClock })
    for (let pair = -2; pair < PAIRS; pair++) {
      const isEmailVerified = path !== '/email/verification'
      table.rows.push({ id: `k${pair}`, email: knownAddress(pair), isEmailVerified, passwordHash })
    }
    const answers = new Set<string>()
    const send = async (email: string): Promise<void> => {
      const { statusCode, body: text, headers } = await post(path, body(email))
      answers.add(JSON.stringify([statusCode, text, Object.keys(headers).toSorted()]))
    }
    // The first calls load libraries and make the decoy.
    for (const pair of [-1, -2]) {
      await send(knownAddress(pair))
      await send(unknownAddress())
    }
    // Made before, so that only the requests are timed.
    const unknown = Array.from({ length: PAIRS }, unknownAddress)
    const { deviations, text } = await comparePairs(PAIRS, [
      (pair) => send(knownAddress(pair)),
      (pair) => send(unknown[pair]!),
    ])
    t.equal(answers.size, 1, [...answers].join('\n'))
    t.ok(deviations < 5, `the known address was ${text}`)
  })
}
