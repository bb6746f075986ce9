/** The cost of enrolling, of right and wrong codes, of a backup code, and of a request with a rule. */
import { createManualClock, generateCipherKey } from '@parapet/kit'
import { mfa } from '@parapet/mfa'
import { goal, pairedBench } from '@parapet/testing'
import Fastify from 'fastify'
import { Secret, TOTP } from 'otpauth'
import qrcode from 'qrcode'
import { hashBackupCode } from '../src/backup-codes/backup-code.ts'

const keys = generateCipherKey()
const clock = createManualClock()
// A case must measure the attempt, not a wait.
const throttle = {
  freeAttempts: 20,
  firstWaitSeconds: 1,
  maxWaitSeconds: 1,
  failuresPer30Days: 10_000,
}
const settings = { issuer: 'Acme', keys, clock, totp: { digits: 8 }, throttle } as const
const caller = { id: 'alice', roles: [], sessionId: 's1' }

function createApp() {
  const app = Fastify()
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    request.principal = caller
  })
  return app
}

const bare = createApp()
bare.get('/', async () => 'here')
const app = createApp()
await app.register(mfa, settings)
app.get('/', { config: { mfa: 'required' } }, async () => 'here')
app.get('/plain', async () => 'here')
await Promise.all([bare.ready(), app.ready()])

const code = (secret: string, now = clock.now()) =>
  new TOTP({ secret, digits: 8 }).generate({ timestamp: now })

async function enrol(id: string) {
  const { ticket, secret, backupCodes } = await app.mfa.totp.begin({ id, name: id })
  const { proof } = await app.mfa.totp.confirm(id, ticket, code(secret), { amr: ['pwd'] })
  if (id === caller.id) await app.mfa.assure(proof, caller.sessionId)
  clock.advance(30_000)
  return { secret, backupCodes }
}

const alice = await enrol('alice')
const right = await enrol('right')
const wrong = await enrol('wrong')
const ip = '192.0.2.1'
const attempt = async (user: string, secret: string, offset: number) => {
  clock.advance(30_000)
  // With an offset of ten steps the code is outside of every window.
  return app.mfa.verify(user, code(secret, clock.now() + offset), { ip }).catch(() => null)
}

const requests = await pairedBench({
  time: 'cpu',
  minMs: 100,
  cases: {
    'a bare route': async () => bare.inject('/'),
    'a route without a rule': async () => app.inject('/plain'),
    'a route with a rule, proved': async () => app.inject('/'),
  },
})
console.log(requests.table)
goal('mfa-no-rule-to-bare', requests.ratio('a route without a rule', 'a bare route').median, 1.15)
goal('mfa-rule-to-bare', requests.ratio('a route with a rule, proved', 'a bare route').median, 1.5)

const enrolling = await pairedBench({
  time: 'cpu',
  minMs: 100,
  rounds: 7,
  cases: {
    'begin: secret, QR twice, 8 codes': () => app.mfa.totp.begin({ id: 'new', name: 'new' }),
    'the QR of qrcode 1.5 as PNG and SVG': async () => {
      const uri = new TOTP({ secret: new Secret(), issuer: 'Acme', label: 'new' }).toString()
      return [await qrcode.toDataURL(uri), await qrcode.toString(uri, { type: 'svg' })]
    },
  },
})
console.log(enrolling.table)
const beginMs = enrolling.cases['begin: secret, QR twice, 8 codes']!.median / 1e6
goal('mfa-enrol-cpu-ms', beginMs, 25)

// An attempt costs one scrypt run, for every code and however many are left.
const salt = Buffer.alloc(16).toString('base64url')
const absent = alice.backupCodes[0]!
await app.mfa.verify('alice', absent)
const scrypts = await pairedBench({
  time: 'cpu',
  minMs: 150,
  rounds: 7,
  cases: {
    'one scrypt': () => hashBackupCode(absent, salt),
    'a backup code that is wrong': async () => {
      clock.advance(60_000)
      return app.mfa.verify('alice', absent, { ip }).catch(() => null)
    },
  },
})
console.log(scrypts.table)
goal(
  'mfa-backup-to-one-scrypt',
  scrypts.ratio('a backup code that is wrong', 'one scrypt').median,
  1.3,
)

// Right and wrong codes alternate, so that a slow phase of the machine affects both.
const differences: number[] = []
const times = { right: [] as number[], wrong: [] as number[] }
for (let i = 0; i < 3000; i++) {
  const timed = async (user: string, secret: string, offset: number) => {
    const start = process.hrtime.bigint()
    await attempt(user, secret, offset)
    return Number(process.hrtime.bigint() - start) / 1000
  }
  const rightFirst = i % 2 === 0
  let rightUs = rightFirst ? await timed('right', right.secret, 0) : 0
  const wrongUs = await timed('wrong', wrong.secret, 300_000)
  if (!rightFirst) rightUs = await timed('right', right.secret, 0)
  // A right code in between, because a hundred wrong ones in a row would disable the factor.
  if (i % 10 === 9) await attempt('wrong', wrong.secret, 0)
  if (i < 500) continue
  times.right.push(rightUs)
  times.wrong.push(wrongUs)
  differences.push(rightUs - wrongUs)
}
const medianOf = (values: number[]) => values.toSorted((a, b) => a - b)[values.length >> 1]!
const ratio = medianOf(times.right) / medianOf(times.wrong)
console.log(
  `a right code ${medianOf(times.right).toFixed(0)} us, a wrong one ${medianOf(times.wrong).toFixed(0)} us, ` +
    `median of the differences ${medianOf(differences).toFixed(1)} us of ${differences.length} pairs`,
)
goal('mfa-right-to-wrong', ratio, 1.1)
goal('mfa-wrong-to-right', 1 / ratio, 1.1)
await Promise.all([bare.close(), app.close()])
