/** The app on a database in memory, and the assertions that every refused request must pass. */
import { createSqlClient, uuidV7, type SqlClient, type SqlQueryable } from '@parapet/kit'
import { openPglite } from '@parapet/testing'
import type { FastifyInstance, InjectOptions } from 'fastify'
import type { Test } from 'tap'
import type { Role } from '../../src/access/policy.ts'
import { buildApp, type Ports } from '../../src/app.ts'
import { readConfig } from '../../src/config/environment.ts'
import { createLog } from '../../src/logging/log.ts'
import { createMailbox } from './mailbox.ts'
import { signIn } from './sign-in.ts'

/** A PostgreSQL in memory. It takes seconds to open, so the tests of a file share one. */
export interface TestDatabase {
  readonly sql: SqlClient
  /** Every row of the domain, with all columns. */
  readonly rows: () => Promise<unknown>
  /** Deletes every row of the domain, and all incidents. */
  readonly clear: () => Promise<unknown>
}

/** Opens a database and closes it after the test. */
export async function openDatabase(t: Test): Promise<TestDatabase> {
  const pglite = await openPglite()
  t.after(() => pglite.close())
  return testDatabaseOf(createSqlClient(pglite))
}

/** A database that the caller opens and closes, for instance on a server. */
export function testDatabaseOf(sql: SqlClient): TestDatabase {
  return {
    sql,
    rows: () => readRows(sql),
    clear: async () => {
      await sql.query(`TRUNCATE ${TABLES.join(', ')}`)
      await sql.query('DELETE FROM incident_response_incidents')
    },
  }
}

/** Wraps a database, and notes its statements about users. */
export function noteStatements(sql: SqlClient) {
  const noted: { readonly text: string; readonly values: readonly unknown[] }[] = []
  const noting = <Q extends SqlQueryable>(queryable: Q): Q => ({
    ...queryable,
    query: (text: string, values: readonly unknown[] = []) => {
      if (/\busers\b/.test(text)) noted.push({ text: text.replace(/\s+/g, ' '), values })
      return queryable.query(text, values)
    },
  })
  const transaction: SqlClient['transaction'] = (work) =>
    sql.transaction((each) => work(noting(each)))
  return { noted, sql: { ...noting(sql), transaction } }
}

const TABLES = ['users', 'content', 'artists', 'venues', 'bookings', 'settings', 'files'] as const

async function readRows(sql: SqlClient): Promise<unknown> {
  const columns = TABLES.map(
    (table) => `(SELECT json_agg(r ORDER BY id)::text FROM ${table} r) AS ${table}`,
  )
  return (await sql.query(`SELECT ${columns.join(', ')}`)).rows
}

/**
 * Creates a folder that is deleted after the handlers of `t.after` have run. tap would delete it before
 * them, while the app still writes to it, unless `t.after` is called before `t.testdir`.
 */
export function createDataFolder(t: Test): string {
  t.after(() => {})
  return t.testdir()
}

/** A log that is kept in memory. */
export function createMemoryLog() {
  const lines: string[] = []
  const log = createLog({ logLevel: 'info' }, { write: (line: string) => void lines.push(line) })
  return { log, text: () => lines.join('') }
}

export type Headers = Readonly<Record<string, string>>
type Method = 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'
type Request = InjectOptions & { readonly url: string }

/** A response; `body` is `{}` if the response has none. */
export interface Answer {
  readonly status: number
  readonly code: unknown
  readonly body: Readonly<Record<string, unknown>>
  readonly headers: Readonly<Record<string, unknown>>
  readonly text: string
}

/** The status and the code of a refusal; `code: undefined`: the response must have no code. */
export interface Refusal {
  readonly status: number
  readonly code: string | undefined
}

export const invalid = { status: 400, code: 'FST_ERR_VALIDATION' }
export const unauthenticated = { status: 401, code: 'PARAPET_RBAC_UNAUTHENTICATED' }
export const denied = { status: 403, code: 'PARAPET_RBAC_DENIED' }
export const notFound = { status: 404, code: 'PARAPET_REFERENCE_NOT_FOUND' }
export const sessionEnded = { status: 401, code: 'PARAPET_SESSIONS_UNAUTHENTICATED' }

export const password = 'correct horse battery staple'
export const artist = { name: 'A', genres: ['jazz'], hourlyRateMinor: 1, currency: 'EUR' }

/** A busy machine must not fail a test: the event loop may be late. */
export const calm = { MAX_EVENT_LOOP_DELAY_MS: '0' } as const

/** Builds the app. After the test the app is closed and the database is empty. */
export async function createTestApp(
  t: Test,
  database: TestDatabase,
  env: Readonly<Record<string, string>> = {},
  ports: Ports = {},
) {
  const { log, text } = createMemoryLog()
  const mailbox = createMailbox()
  const { sendMail } = mailbox
  const config = readConfig({ ...calm, ...env })
  const app = await buildApp(config, { sql: database.sql, log, sendMail, ...ports })
  t.after(async () => {
    await app.close()
    await database.clear()
  })
  return { app, log: text, mailbox, ...createClient(app, database) }
}

/**
 * Builds one app for the tests of a file that change nothing but rows: building it takes longer than they do.
 * Each gets an address, a log and a mailbox of its own, so that no limit is shared, and finds no rows.
 *
 * @param t the test of the file.
 * @returns what {@link createTestApp} returns, for each test.
 */
export function shareTestApp(t: Test, database: TestDatabase) {
  let building: Promise<FastifyInstance> | undefined
  let mailbox = createMailbox()
  let tests = 0
  const { log, text } = createMemoryLog()
  const build = () =>
    buildApp(readConfig(calm), {
      sql: database.sql,
      log,
      sendMail: (mail) => mailbox.sendMail(mail),
    })
  t.after(async () => (await building)?.close())
  return async (t: Test) => {
    const app = await (building ??= build())
    t.after(() => database.clear())
    mailbox = createMailbox()
    const { length } = text()
    const remoteAddress = `198.18.0.${++tests}`
    const client = createClient(app, database, { remoteAddress })
    return { app, log: () => text().slice(length), mailbox, ...client }
  }
}

/** Sends requests to an app. @param defaults what no request says otherwise */
export function createClient(
  app: FastifyInstance,
  database: TestDatabase,
  defaults: InjectOptions = {},
) {
  const send = async (request: Request): Promise<Answer> => {
    const reply = await app.inject({ ...defaults, ...request })
    const { statusCode: status, body: text, headers } = reply
    const isJson = /^application\/(?:problem\+)?json/.test(String(headers['content-type']))
    const body = isJson && text !== '' ? (JSON.parse(text) as Answer['body']) : {}
    return { status, code: body['code'], body, headers, text }
  }
  /** Sends a request; a payload is sent as JSON. */
  const ask = (who: Headers, method: Method, url: string, payload?: object) =>
    send({ method, url, headers: who, ...(payload === undefined ? undefined : { payload }) })
  /** Asserts that the request is refused, that the response is only a problem, and that no row changed. */
  const refuseRequest = (t: Test, refusal: Refusal, request: Request, name?: string) =>
    assertRefused(t, () => send(request), refusal, database.rows, name ?? describe(request))
  /** {@link refuseRequest} with the arguments of `ask`. */
  const refuse = (
    t: Test,
    refusal: Refusal,
    who: Headers,
    method: Method,
    url: string,
    payload?: object,
  ) => {
    const body = payload === undefined ? undefined : { payload }
    return refuseRequest(t, refusal, { method, url, headers: who, ...body })
  }
  const idOfEmail = async (email: string) => {
    const text = 'SELECT id::text AS id FROM users WHERE email = $1'
    return (await database.sql.query<{ id: string }>(text, [email])).rows[0]!.id
  }
  /** What the link in a message does, for tests that are about something else. */
  const verify = (email: string) =>
    database.sql.query(
      'UPDATE users SET email_verified_at = now() WHERE lower(email) = lower($1)',
      [email],
    )
  /** Registers a user. @returns the id, the address, and the headers of a session with the role. */
  const register = async (role: Role, email = `${uuidV7()}@example.com`) => {
    await ask({}, 'POST', '/api/v1/users', { email, displayName: role, password })
    await verify(email)
    const id = await idOfEmail(email)
    return { id, email, headers: await signIn(app, role, id) }
  }
  /** Logs in with a password. */
  const logIn = (login: string, secret: string) =>
    ask({}, 'POST', '/api/v1/auth/login', { login, password: secret })
  return { send, ask, refuse, refuseRequest, register, verify, logIn }
}

const PROBLEM_MEMBERS = new Set([
  'type',
  'title',
  'status',
  'detail',
  'code',
  'requestId',
  'errors',
  'retryAfter',
])

/**
 * Asserts that a request is refused with this status and code. If the handler had run, it would have
 * changed a row or returned data: so no row may differ, and the body may be nothing but a problem.
 */
export async function assertRefused<A extends Pick<Answer, 'status' | 'body'>>(
  t: Test,
  request: () => Promise<A>,
  refusal: Refusal,
  readState: () => Promise<unknown>,
  name: string,
): Promise<A> {
  const before = await readState()
  const answer = await request()
  const { status, body } = answer
  t.same({ status, code: body['code'] }, { status: refusal.status, code: refusal.code }, name)
  t.equal(body['status'], refusal.status, `${name}: the body repeats the status`)
  const data = Object.keys(body).filter((member) => !PROBLEM_MEMBERS.has(member))
  t.same(data, [], `${name}: the body has no data`)
  t.same(await readState(), before, `${name}: nothing changed`)
  return answer
}

function describe({ method = 'GET', url, payload }: Request): string {
  const body = payload === undefined ? '' : ` ${JSON.stringify(payload).slice(0, 100)}`
  return `${method} ${url}${body}`
}
