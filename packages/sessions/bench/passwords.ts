/**
 * What a new password costs to check, and what a login with the hash of a former system costs: no more than argon2
 * and the old hash one after the other.
 */
import { randomBytes } from 'node:crypto'
import { hash } from '@node-rs/argon2'
import { hash as bcrypt, verify } from '@node-rs/bcrypt'
import { createPasswordCheck, createPasswordPolicy, hashPassword } from '@parapet/sessions'
import { goal, pairedBench } from '@parapet/testing'

const password = 'correct horse battery staple'

const policy = createPasswordPolicy({ words: ['Example'] })
const words = ['ada.lovelace@example.com', 'Ada Lovelace']
await policy.check(password, { words })
const candidates = Array.from({ length: 256 }, () => randomBytes(12).toString('base64'))
let turn = 0
const checks = await pairedBench({
  time: 'cpu',
  cases: { check: () => policy.check(candidates[turn++ % candidates.length]!, { words }) },
})
goal('policy-check-ms', checks.cases['check']!.median / 1e6, 1)

const old = await bcrypt(password, 10)
await hashPassword(password)
const user = { id: 'u-1', roles: [] }
const login = createPasswordCheck({
  findAccount: async () => ({ user, passwordHash: old }),
  // A new object each time would be a new upgrade; a failing save makes each login the first one.
  saveHash: async () => {
    throw new Error('not saved')
  },
  former: old,
})
const logIn = () => login({ login: 'ada', password })
await logIn()
const argon2 = { memoryCost: 19_456, timeCost: 2, parallelism: 1, outputLen: 32 }
const apart = async (): Promise<void> => {
  await verify(password, old)
  await hash(password, argon2)
}

/** The CPU time of all threads for some calls, in microseconds. */
async function cpuOf(call: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  for (let calls = 0; calls < 2; calls++) await call()
  const { user: busy, system } = process.cpuUsage(before)
  return busy + system
}

/**
 * Each round compares the two, one right behind the other, in turns first. Equal work is slower in half of the rounds. The
 * seventh smallest of 25 ratios is above the true one in less than 1 of 100 runs: if it is above 1, the login is slower.
 */
const ROUNDS = 25
const SURELY_BELOW = 6
await apart()
const ratios: number[] = []
for (let round = 0; round < ROUNDS; round++) {
  const isLoginFirst = round % 2 === 1
  const early = await cpuOf(isLoginFirst ? logIn : apart)
  const late = await cpuOf(isLoginFirst ? apart : logIn)
  ratios.push(isLoginFirst ? early / late : late / early)
}
ratios.sort((one, other) => one - other)
const median = ratios[(ROUNDS - 1) / 2]!
console.log(`login with upgrade: ${median.toFixed(3)} times argon2 and the old hash (median)`)
goal('login-with-upgrade-to-both-hashes', ratios[SURELY_BELOW]!, 1)
