/** Password hashes of other systems: verified, and replaced once. */
import { pbkdf2Sync, scryptSync } from 'node:crypto'
import { hash, verify, type Algorithm, type Version } from '@node-rs/argon2'
import { hash as bcrypt } from '@node-rs/bcrypt'
import {
  createPasswordCheck,
  needsRehash,
  verifyPassword,
  type PasswordAccount,
} from '@parapet/sessions'
import t from 'tap'
import { readForeignHash } from '../src/passwords/foreign-hash.ts'
import type { Argon2 } from '../src/passwords/hash-password.ts'
import { createVerifier } from '../src/passwords/verify-password.ts'
import { build, reader, refusalOf } from './build.ts'

const password = 'correct horse battery staple'
const salt = Buffer.from('0123456789abcdef')
const base64 = (bytes: Buffer): string => bytes.toString('base64').replace(/=+$/, '')
const passlib = (bytes: Buffer): string => base64(bytes).replaceAll('+', '.')

const scryptKey = scryptSync(password, salt, 32, { N: 1024, r: 8, p: 1 })
const pbkdf2Key = (digest: string, length: number): Buffer =>
  pbkdf2Sync(password, salt, 1000, length, digest)
/** The numbers of the library's constant enums, which cannot be imported one file at a time. */
const argon2i = 1 as unknown as Algorithm
const argon2d = 0 as unknown as Algorithm
const v16 = 0 as unknown as Version
const weak = { memoryCost: 64, timeCost: 1, parallelism: 1 }

/** A hash of each form, cheap enough for a test. */
const hashes: readonly (readonly [name: string, text: string])[] = [
  ['bcrypt', await bcrypt(password, 4)],
  ['bcrypt of PHP', (await bcrypt(password, 4)).replace('$2b$', '$2y$')],
  // glibc's crypt(3) wrote this one.
  ['bcrypt of libxcrypt', '$2b$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG'],
  ['argon2i', await hash(password, { ...weak, algorithm: argon2i })],
  ['argon2d', await hash(password, { ...weak, algorithm: argon2d })],
  ['argon2id of 2015', await hash(password, { ...weak, version: v16 })],
  ['scrypt, PHC', `$scrypt$ln=10,r=8,p=1$${base64(salt)}$${base64(scryptKey)}`],
  ['scrypt, passlib', `$scrypt$ln=10,r=8,p=1$${passlib(salt)}$${passlib(scryptKey)}`],
  ['scrypt, Werkzeug', `scrypt:1024:8:1$${salt.toString()}$${scryptKey.toString('hex')}`],
  [
    'scrypt, Better Auth',
    `${salt.toString('hex')}:${scryptSync(password, salt.toString('hex'), 64, {
      N: 16_384,
      r: 16,
      p: 1,
      maxmem: 67_108_864,
    }).toString('hex')}`,
  ],
  ['PBKDF2, PHC', `$pbkdf2-sha256$i=1000,l=32$${base64(salt)}$${base64(pbkdf2Key('sha256', 32))}`],
  ['PBKDF2, passlib', `$pbkdf2-sha512$1000$${passlib(salt)}$${passlib(pbkdf2Key('sha512', 64))}`],
  ['PBKDF2 of SHA-1', `$pbkdf2$1000$${passlib(salt)}$${passlib(pbkdf2Key('sha1', 20))}`],
  [
    'PBKDF2, Django',
    `pbkdf2_sha256$1000$${salt.toString()}$${pbkdf2Key('sha256', 32).toString('base64')}`,
  ],
  [
    'PBKDF2, Werkzeug',
    `pbkdf2:sha256:1000$${salt.toString()}$${pbkdf2Key('sha256', 32).toString('hex')}`,
  ],
]

await t.test('a hash of every known form is verified', async (t) => {
  for (const [name, text] of hashes) {
    t.equal(await verifyPassword(text, password), true, name)
    t.equal(await verifyPassword(text, `${password}!`), false, `${name}, another password`)
    t.equal(needsRehash(text), true, `${name} is replaced`)
  }
})

await t.test('a text that is no hash, or too expensive, matches nothing', async (t) => {
  const broken = [
    '',
    'x',
    password,
    // bcrypt beyond 2^15 rounds, below 2^4, and cut.
    `$2b$16$${'a'.repeat(53)}`,
    `$2b$03$${'a'.repeat(53)}`,
    `$2b$04$${'a'.repeat(52)}`,
    // 1 GiB, a cost that is no power of two, more parallel work than memory.
    `$scrypt$ln=20,r=8,p=1$${base64(salt)}$${base64(scryptKey)}`,
    `$scrypt$ln=99,r=8,p=1$${base64(salt)}$${base64(scryptKey)}`,
    `$scrypt$ln=10,r=0,p=1$${base64(salt)}$${base64(scryptKey)}`,
    `scrypt:1000:8:1$abcd$${scryptKey.toString('hex')}`,
    `$scrypt$ln=17,r=8,p=99$${base64(salt)}$${base64(scryptKey)}`,
    `$pbkdf2-sha256$99999999$${base64(salt)}$${base64(scryptKey)}`,
    `$pbkdf2-md5$1000$${base64(salt)}$${base64(scryptKey)}`,
    `$argon2i$v=19$m=999999,t=1,p=1$${base64(salt)}$${base64(scryptKey)}`,
    `$argon2i$v=19$m=64,t=99,p=1$${base64(salt)}$${base64(scryptKey)}`,
    `$argon2d$v=19$m=64,t=1,p=1$!!!!!!!!!!!$${base64(scryptKey)}`,
  ]
  for (const text of broken) {
    t.equal(await verifyPassword(text, password), false, text)
    t.equal(await verifyPassword(`${text}\n`, password), false, `${text} and a line feed`)
  }
  t.throws(() => createPasswordCheck({ findAccount: async () => null, former: 'md5' }), {
    code: 'PARAPET_SESSIONS_INVALID_ARGUMENT',
  })
})

await t.test('a password beyond ASCII matches as it was typed in the former system', async (t) => {
  const typed = 'Pa\u0308sswo\u0308rd \ufb01'
  t.equal(await verifyPassword(await bcrypt(typed, 4), typed), true)
  const account = { user: reader, passwordHash: await bcrypt(typed, 4) }
  const check = createPasswordCheck({ findAccount: async () => account })
  t.match(await check({ login: 'a', password: typed }), { id: reader.id })
  t.equal(await check({ login: 'a', password: typed.normalize('NFKC') }), null)
})

/** A user table of one account, whose hash is saved as the documentation asks. */
function createTable(passwordHash: string) {
  const table = { passwordHash, saved: 0, refused: 0 }
  const findAccount = async (): Promise<PasswordAccount> => ({
    user: reader,
    passwordHash: table.passwordHash,
  })
  const saveHash = async (_id: string, next: string, previous: string): Promise<void> => {
    if (table.passwordHash !== previous) {
      table.refused++
      return
    }
    table.passwordHash = next
    table.saved++
  }
  return { table, findAccount, saveHash }
}

await t.test('100 logins at once replace a hash once, and all of them succeed', async (t) => {
  for (const [name, text] of hashes.filter(([each]) =>
    /^(bcrypt|scrypt, PHC|PBKDF2, PHC)$/.test(each),
  )) {
    const { table, findAccount, saveHash } = createTable(text)
    const { app } = await build(t, {
      prefix: '/auth',
      hashing: { maxWaiting: 100 },
      maxSessionsPerUser: 200,
      credentials: createPasswordCheck({ findAccount, saveHash, former: text }),
    })
    const body = { login: 'ada', password }
    const logins = Array.from({ length: 100 }, () =>
      app.inject({ method: 'POST', url: '/auth/login', body }),
    )
    const statuses = (await Promise.all(logins)).map(({ statusCode }) => statusCode)
    t.same(
      statuses,
      Array.from({ length: 100 }, () => 200),
      name,
    )
    t.same({ saved: table.saved, refused: table.refused }, { saved: 1, refused: 0 }, name)
    t.equal(needsRehash(table.passwordHash), false)
    t.equal((await app.inject({ method: 'POST', url: '/auth/login', body })).statusCode, 200)
    const wrong = { login: 'ada', password: 'another password' }
    const refused = await app.inject({ method: 'POST', url: '/auth/login', body: wrong })
    t.same(refusalOf(refused), [401, 'PARAPET_SESSIONS_LOGIN_FAILED'])
    t.equal(table.saved, 1, 'nothing more was saved')
  }
})

await t.test('two instances replace a hash once', async (t) => {
  const { table, findAccount, saveHash } = createTable(hashes[0]![1])
  const checks = [1, 2].map(() => createPasswordCheck({ findAccount, saveHash }))
  const body = { login: 'ada', password }
  const results = await Promise.all(checks.map((check) => check(body)))
  t.match(results, [{ id: reader.id }, { id: reader.id }])
  t.equal(table.saved, 1)
  t.equal(await verifyPassword(table.passwordHash, password), true)
})

await t.test('a hash that cannot be saved does not refuse the login', async (t) => {
  const errors: unknown[] = []
  const { findAccount } = createTable(hashes[0]![1])
  const check = createPasswordCheck({
    findAccount,
    saveHash: async () => {
      throw new Error('read-only')
    },
    onSaveFailed: (error) => void errors.push(error),
  })
  t.match(await check({ login: 'ada', password }), { id: reader.id })
  t.match(await check({ login: 'ada', password }), { id: reader.id })
  t.match(
    errors,
    [{ message: 'read-only' }, { message: 'read-only' }],
    'the next login tries again',
  )
})

await t.test('with "former", every login does the work of both hashes', async (t) => {
  const counted = { argon2: 0, former: 0 }
  const library: Argon2 = {
    hash: async (...args) => {
      counted.argon2++
      return hash(...args)
    },
    verify: async (...args) => {
      counted.argon2++
      return verify(...args)
    },
  }
  const foreign = hashes.find(([name]) => name === 'PBKDF2, PHC')![1]
  const own = await hash(password, { memoryCost: 19_456, timeCost: 2, parallelism: 1 })
  const accounts = new Map([
    ['old', { user: reader, passwordHash: foreign }],
    ['new', { user: reader, passwordHash: own }],
    ['gone', { user: reader, passwordHash: foreign, disabled: true }],
    ['broken', { user: reader, passwordHash: 'x' }],
  ])
  const read = readForeignHash(foreign)!
  const former = {
    kind: read.kind,
    verify: (text: string) => {
      counted.former++
      return read.verify(text)
    },
  }
  const cost = { memoryKib: 19_456, passes: 2 }
  const verifier = createVerifier({ library: async () => library, cost, former })
  await verifier.verify(null, 'makes the decoy', () => false)
  for (const login of ['nobody', 'old', 'new', 'gone', 'broken']) {
    counted.argon2 = 0
    counted.former = 0
    const account = accounts.get(login) ?? null
    const { isRight } = await verifier.verify(account, 'a wrong password', () => true)
    t.equal(isRight, false, login)
    t.equal(counted.argon2, 1, `${login}: one argon2 of the full cost`)
    // The accounts with a hash of the former system verify their own.
    t.equal(counted.former, ['old', 'gone'].includes(login) ? 0 : 1, `${login}: one PBKDF2`)
  }
})
