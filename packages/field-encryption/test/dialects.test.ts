import { execFileSync, spawn } from 'node:child_process'
import { accessSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { blind, Encrypted } from '@parapet/field-encryption'
import { Type } from '@sinclair/typebox'
import t, { type Test } from 'tap'
import { buildFixed, code, folderOf } from './fixtures.ts'

const Person = Type.Object({
  id: Type.Integer(),
  ref: Type.String(),
  email: Encrypted(Type.String(), {
    index: { email_idx: blind({ normalize: ['lower'] }), email_key: blind({ unique: true }) },
  }),
})

async function fill(t: Test) {
  const { app } = await buildFixed(t)
  const people = app.fieldEncryption.table('people', Person, { bind: 'ref' })
  const emails = ['jane@example.com', 'john@example.com']
  const rows = await people.encryptMany(emails.map((email, i) => ({ ref: `r${i}`, email })))
  const names = ['ref', 'email', 'email_idx', 'email_key_a', 'email_key_b']
  const tuple = (row: Record<string, unknown>) =>
    `(${names.map((name) => (row[name] === null ? 'NULL' : `'${row[name] as string}'`)).join(', ')})`
  const insert = `INSERT INTO people (${names.join(', ')}) VALUES ${rows.map(tuple).join(', ')};`
  return { people, insert }
}

const KEY = 'id INTEGER PRIMARY KEY'
const create = (key: string) => `CREATE TABLE people (${key}, ref VARCHAR(40), email TEXT,
  email_idx VARCHAR(64), email_key_a VARCHAR(64), email_key_b VARCHAR(64));`

function has(program: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((folder) => {
    try {
      accessSync(join(folder, program))
      return true
    } catch {
      return false
    }
  })
}

function skip(t: Test, program: string): void {
  if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(`no ${program}`)
  else t.pass(`needs ${program}`, { skip: 'not installed' })
}

await t.test('where has the placeholders and quotes of MySQL and SQLite', async (t) => {
  const { people } = await fill(t)
  const mysql = await people.where('email', 'x', { dialect: 'mysql' })
  t.equal(mysql.text, '(`email_idx` IN (?))')
  t.same(mysql.values, mysql.tokens)
  const both = await people.where('email', 'x', { dialect: 'sqlite', index: 'email_key' })
  t.equal(both.text, '("email_key_a" IN (?) OR "email_key_b" IN (?))')
  t.same(both.values, [...both.tokens, ...both.tokens])
  const former = await people.where('email', 'ß', { dialect: 'mysql' })
  t.equal(former.text, '(`email_idx` IN (?, ?))', 'a token for each normalized form')
  await t.rejects(people.where('email', 1, { dialect: 'mysql' }), code('INVALID_ARGUMENT'))
})

await t.test('SQLite finds the row, whose id it has made', async (t) => {
  if (!has('sqlite3')) return skip(t, 'sqlite3')
  const { people, insert } = await fill(t)
  for (const index of ['email_idx', 'email_key']) {
    const options = { dialect: 'sqlite', index } as const
    const { text, values } = await people.where('email', 'john@example.com', options)
    const binds = values.map((value, i) => `.parameter set ?${i + 1} "'${String(value)}'"`)
    const query = `SELECT json_object('id', id, 'ref', ref, 'email', email) FROM people WHERE ${text};`
    const script = [create(KEY), insert, ...binds, query].join('\n')
    const answer = execFileSync('sqlite3', [':memory:'], { input: script }).toString().trim()
    const row = JSON.parse(answer) as object
    t.strictSame(await people.decryptRecord(row), { id: 2, ref: 'r1', email: 'john@example.com' })
  }
})

/** Starts a server in a new folder, without a network. */
async function startMysql(t: Test): Promise<(script: string) => string> {
  const folder = folderOf(t)
  const socket = join(folder, 's')
  const data = join(folder, 'data')
  const user = process.getuid?.() === 0 ? ['--user=root'] : []
  const install = ['--no-defaults', `--datadir=${data}`, '--auth-root-authentication-method=normal']
  execFileSync('mariadb-install-db', [...install, ...user], { stdio: 'ignore' })
  const server = spawn(
    'mariadbd',
    ['--no-defaults', `--datadir=${data}`, `--socket=${socket}`, '--skip-networking', ...user],
    { stdio: 'ignore' },
  )
  const ended = new Promise((resolve) => server.once('exit', resolve))
  t.after(async () => {
    server.kill('SIGKILL')
    await ended
  })
  const run = (script: string) =>
    execFileSync('mariadb', ['--no-defaults', `--socket=${socket}`, '-uroot', '-N', '-r'], {
      input: script,
      stdio: ['pipe', 'pipe', 'ignore'],
    }).toString()
  for (let attempt = 0; ; attempt++) {
    try {
      run('SELECT 1')
      return run
    } catch (error) {
      if (attempt === 300) throw error
      await setTimeout(100)
    }
  }
}

await t.test('MySQL finds the row, whose id it has made', async (t) => {
  const programs = ['mariadbd', 'mariadb', 'mariadb-install-db']
  const missing = programs.find((program) => !has(program))
  if (missing !== undefined) return skip(t, missing)
  const run = await startMysql(t)
  const { people, insert } = await fill(t)
  run(`CREATE DATABASE app; USE app; ${create(`${KEY} AUTO_INCREMENT`)} ${insert}`)
  for (const index of ['email_idx', 'email_key']) {
    const options = { dialect: 'mysql', index } as const
    const { text, values } = await people.where('email', 'jane@example.com', options)
    const query = `SELECT JSON_OBJECT('id', id, 'ref', ref, 'email', email) FROM people WHERE ${text}`
    const sets = values.map((value, i) => `SET @p${i} = '${String(value)}';`).join(' ')
    const using = values.map((_, i) => `@p${i}`).join(', ')
    const script = `USE app; ${sets} PREPARE s FROM '${query.replaceAll("'", "''")}'; EXECUTE s USING ${using};`
    const row = JSON.parse(run(script).trim()) as object
    t.strictSame(await people.decryptRecord(row), { id: 1, ref: 'r0', email: 'jane@example.com' })
  }
})
