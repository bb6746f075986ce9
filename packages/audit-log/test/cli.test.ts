import { execFile } from 'node:child_process'
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { createSqlClient } from '@parapet/kit'
import { openPglite, plainNode, usePostgres } from '@parapet/testing'
import type { FastifyInstance } from 'fastify'
import t from 'tap'
import { createApp, ORIGIN, useFolder } from './support.ts'

const CLI = new URL('../src/command/cli.ts', import.meta.url).pathname
const run = promisify(execFile)

async function cli(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const [file, all] = plainNode([CLI, ...args])
  return run(file, all).then(
    ({ stdout }) => ({ code: 0, stdout, stderr: '' }),
    (error: { code: number; stdout: string; stderr: string }) => error,
  )
}

async function fill(app: FastifyInstance, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, () => app.audit.record('thing.act', {})))
  await app.audit.flush()
}

await t.test('--help is no error, and a wrong call is', async (t) => {
  const help = await cli('--help')
  t.equal(help.code, 0)
  t.match(help.stdout, /--directory[^]*--database[^]*--pglite[^]*--url[^]*--export/)
  for (const args of [[], ['verify'], ['verify', '--directory', 'a', '--url', 'b'], ['key']]) {
    t.equal((await cli(...args)).code, 64, args.join(' '))
  }
})

await t.test('the key of a directory is printed, and taken as PEM and among several', async (t) => {
  const app = await createApp(t)
  await fill(app, 3)
  const { verifierKey } = app.audit
  await app.close()
  const printed = await cli('key', '--directory', app.folder)
  t.same([printed.code, printed.stdout], [0, `${verifierKey}\n`])
  const other = await createApp(t)
  const pem = join(app.folder, 'log.pem')
  const key = createPublicKey(readFileSync(join(app.folder, 'key.pem')))
  writeFileSync(pem, key.export({ format: 'pem', type: 'spki' }))
  const verify = ['verify', '--directory', app.folder]
  t.equal((await cli(...verify, '--key', pem)).code, 0)
  t.equal((await cli(...verify, '--key', other.audit.verifierKey, '--key', verifierKey)).code, 0)
  t.equal((await cli(...verify, '--key', other.audit.verifierKey)).code, 3)
})

await t.test(
  'an encrypted key is printed, with the passphrase from a file or a variable',
  async (t) => {
    const folder = useFolder(t)
    const file = join(folder, 'audit.pem')
    const secret = join(folder, 'passphrase')
    const { privateKey } = generateKeyPairSync('ed25519')
    const cipher = { cipher: 'aes-256-cbc', passphrase: 'correct horse' } as const
    const pem = privateKey.export({ format: 'pem', type: 'pkcs8', ...cipher })
    writeFileSync(file, pem, { mode: 0o600 })
    writeFileSync(secret, 'correct horse\n')
    process.env['PARAPET_TEST_PASSPHRASE'] = 'correct horse'
    t.after(() => delete process.env['PARAPET_TEST_PASSPHRASE'])
    const keys = [
      { file, passphraseFile: secret },
      { file, passphraseEnv: 'PARAPET_TEST_PASSPHRASE' },
      { pem: String(pem), passphrase: 'correct horse' },
    ]
    const app = await createApp(t, { key: keys[0]! })
    for (const key of keys) {
      const same = await createApp(t, { key })
      t.equal(same.audit.verifierKey, app.audit.verifierKey)
    }
    const refused: [object, RegExp][] = [
      [{ file }, /the passphrase must be correct/],
      [{ file, passphraseFile: file }, /the passphrase must be correct/],
      [{ file, passphraseFile: join(folder, 'none') }, /cannot be read/],
      [{ file, passphraseEnv: 'PARAPET_TEST_NONE' }, /PARAPET_TEST_NONE must contain/],
      [{ file, passphraseEnv: 'A', passphraseFile: secret }, /only one of/],
    ]
    for (const [key, message] of refused) {
      const code = 'PARAPET_AUDIT_LOG_KEY_UNUSABLE'
      await t.rejects(createApp(t, { key }), { code, statusCode: 500, message })
    }
    const args = ['key', '--key', file, '--origin', ORIGIN]
    for (const more of [
      ['--passphrase-file', secret],
      ['--passphrase-env', 'PARAPET_TEST_PASSPHRASE'],
    ]) {
      const printed = await cli(...args, ...more)
      t.same([printed.code, printed.stdout], [0, `${app.audit.verifierKey}\n`], printed.stderr)
    }
    t.equal((await cli(...args, '--passphrase', 'correct horse')).code, 64, 'others can read it')
  },
)

await t.test('a mirror of the tiles is verified in a folder and behind a URL', async (t) => {
  const app = await createApp(t)
  await app.register(app.audit.routes, {
    prefix: '/audit',
    guard: ({ headers }) => headers['authorization'] === 'Bearer x',
  })
  await fill(app, 600)
  const { verifierKey } = app.audit
  const key = ['--key', verifierKey]
  const mirror = useFolder(t)
  for (const name of ['checkpoint', 'tile']) {
    cpSync(join(app.folder, 'log', name), join(mirror, name), { recursive: true })
  }
  const sound = await cli('verify', '--directory', mirror, ...key)
  t.equal(sound.code, 0, sound.stdout + sound.stderr)
  t.match(sound.stdout, /601 hashed/)
  const url = `${await app.listen({ port: 0, host: '127.0.0.1' })}/audit`
  const header = ['--header', 'authorization: Bearer x']
  const served = await cli('verify', '--url', url, ...header, ...key)
  t.equal(served.code, 0, served.stdout + served.stderr)
  t.equal((await cli('verify', '--url', url, ...key)).code, 2, 'the guard refuses')
  rmSync(join(mirror, 'tile/entries/001'))
  t.equal((await cli('verify', '--directory', mirror, ...key)).code, 1)
})

await t.test('an export is verified line by line', async (t) => {
  const app = await createApp(t)
  await fill(app, 20)
  const file = join(app.folder, 'export.ndjson')
  const save = async (proofs: boolean) => {
    let text = ''
    for await (const line of await app.audit.export({ format: 'ndjson', proofs })) text += line
    writeFileSync(file, text)
    return text
  }
  const args = ['verify', '--export', file, '--key', app.audit.verifierKey, '--json']
  const text = await save(true)
  const sound = await cli(...args)
  t.equal(sound.code, 0, sound.stderr)
  t.match(JSON.parse(sound.stdout), { entries: 21, exitCode: 0 })
  writeFileSync(file, text.replace('\\"seq\\":7', '\\"seq\\":8'))
  const edited = await cli(...args)
  t.equal(edited.code, 1)
  t.match(JSON.parse(edited.stdout), { counts: { edited: 1 }, findings: [{ index: 7 }] })
  writeFileSync(file, `${text}no json\n`)
  t.equal((await cli(...args)).code, 1)
  await save(false)
  t.equal((await cli(...args)).code, 2, 'an export without proofs proves nothing')
})

await t.test('a log in PostgreSQL and an embedded one are verified', async (t) => {
  const folder = join(useFolder(t), 'db')
  const db = await openPglite({ dataDir: folder })
  const app = await createApp(t, { sql: createSqlClient(db) })
  await fill(app, 5)
  const { verifierKey } = app.audit
  await app.close()
  await db.close()
  const embedded = await cli('verify', '--pglite', folder, '--key', verifierKey)
  t.equal(embedded.code, 0, embedded.stdout + embedded.stderr)
  const postgres = await usePostgres(t)
  if (postgres === null) return
  const server = await createApp(t, { sql: createSqlClient(postgres.pool) })
  await fill(server, 5)
  const args = ['verify', '--database', postgres.url, '--key', server.audit.verifierKey]
  const found = await cli(...args)
  t.equal(found.code, 0, found.stdout + found.stderr)
})
