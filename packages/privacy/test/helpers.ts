/** An app with two sources in memory, a clock of its own, and what tests ask of it. */
import {
  createManualClock,
  createMemoryJobs,
  generateCipherKey,
  type Jobs,
  type ManualClock,
  type Principal,
  type SecurityEvent,
} from '@parapet/kit'
import {
  privacy,
  type PrivacyOptions,
  type PrivacySource,
  type SourceRecord,
  type SubjectMessage,
} from '@parapet/privacy'
import Fastify, { type FastifyInstance, type InjectOptions } from 'fastify'
import type { Test } from 'tap'

export const SECRET = Buffer.alloc(32, 7).toString('base64url')
export const KEYS = generateCipherKey()
export const MINUTE = 60_000
export const DAY = 86_400_000
export const CONTROLLER = { name: 'Acme', contact: 'privacy@acme.example', jurisdiction: 'IE' }

/** A table in memory, as a source. */
export interface TestTable {
  readonly rows: Map<string, SourceRecord[]>
  readonly source: PrivacySource
  /** What `erase` was called with. */
  readonly plans: { subject: string; key: string }[]
}

/** Makes a source whose rows lie in memory. */
export function createTable(name: string, overrides: Partial<PrivacySource> = {}): TestTable {
  const rows = new Map<string, SourceRecord[]>()
  const plans: { subject: string; key: string }[] = []
  const source: PrivacySource = {
    name,
    purpose: `Keeping ${name}`,
    legalBasis: 'contract',
    categories: ['user.contact'],
    retentionDays: null,
    storedIn: `memory: ${name}`,
    fields: { email: 'anonymise-email', note: 'delete' },
    collect: (subject) => rows.get(subject) ?? [],
    async erase(subject, plan) {
      plans.push({ subject, key: plan.key })
      const email = plan.fields['email']?.value ?? null
      rows.set(
        subject,
        (rows.get(subject) ?? []).map(() => ({ email, note: null })),
      )
    },
    async verifyErased(subject) {
      const left = (rows.get(subject) ?? []).filter(({ email, note }) => {
        return note !== null || !JSON.stringify(email).endsWith('@erased.invalid"')
      })
      return { remaining: left.length }
    },
    async rectify(subject, changes) {
      rows.set(
        subject,
        (rows.get(subject) ?? []).map((row) => ({ ...row, ...changes })),
      )
    },
    subjects: () => rows.keys(),
    ...overrides,
  }
  return { rows, source, plans }
}

/** An app under test. */
export interface TestApp {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly jobs: Jobs
  /** What failed in jobs, as it is logged. */
  readonly jobErrors: readonly unknown[]
  readonly events: SecurityEvent[]
  readonly messages: SubjectMessage[]
  readonly tables: { readonly users: TestTable; readonly orders: TestTable }
  /** Sends a request as a subject; `null`: without a login. */
  readonly send: (as: string | null, options: InjectOptions | string) => Promise<Reply>
  /** Lets the jobs run until a request of this id has this state. */
  readonly until: (id: string, state: string) => Promise<void>
  /** Lets the jobs run until the messages about a request are sent. */
  readonly untilSent: (id: string) => Promise<void>
}

/** The members of responses that tests read. */
interface ReplyBody {
  readonly id: string
  readonly code: string
  readonly state: string
  readonly items: readonly ReplyBody[]
  readonly nextCursor?: string
  readonly link: string
  readonly dueAt: number
  readonly extension: object
  readonly receipt: string
  readonly parts: readonly RequestPartView[]
}

/** The part of an erasure, as responses show it. */
interface RequestPartView {
  readonly name: string
  readonly kind: string
  readonly status: string
  readonly attempts: number
  readonly error?: string
}

/** A response, with its body parsed where it is JSON. */
export interface Reply {
  readonly status: number
  readonly body: ReplyBody
  readonly raw: Buffer
  readonly headers: Readonly<Record<string, unknown>>
}

/** Builds an app. Subjects log in by the header `x-subject`; `officer` is an officer. */
export async function createApp(
  t: Test,
  options: Partial<PrivacyOptions> = {},
  routes: (app: FastifyInstance) => void = () => undefined,
): Promise<TestApp> {
  const clock = createManualClock(Date.UTC(2026, 0, 31, 12))
  const jobErrors: unknown[] = []
  const jobs = createMemoryJobs({
    clock,
    pollMs: 1000,
    onNotice: () => undefined,
    onError: (error) => void jobErrors.push(error),
  })
  const messages: SubjectMessage[] = []
  const tables = { users: createTable('users'), orders: createTable('orders') }
  const app = Fastify()
  t.after(async () => {
    await app.close()
    await jobs.close()
  })
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    const id = request.headers['x-subject'] as string | undefined
    if (id !== undefined) request.principal = { id, roles: [id] } satisfies Principal
  })
  await app.register(privacy, {
    controller: CONTROLLER,
    secret: SECRET,
    keys: KEYS,
    clock,
    jobs,
    sources: [tables.users.source, tables.orders.source],
    stepUp: (request) => request.headers['x-proof'] === 'fresh',
    deliver: async (message) => void messages.push(message),
    findSubject: async (contact) => /^(\w+)@acme\.example$/.exec(contact)?.[1] ?? null,
    officer: (request) => request.principal?.id === 'officer',
    ...options,
  })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  routes(app)
  await app.ready()
  await jobs.start()
  return {
    app,
    clock,
    jobs,
    jobErrors,
    events,
    messages,
    tables,
    send: createSender(app),
    until: (id, state) => waitFor(async () => (await app.privacy.findRequest(id))?.state === state),
    untilSent: (id) =>
      waitFor(async () => (await app.privacy.findRequest(id))!.outbox === undefined),
  }
}

/** Sends requests to an app. */
function createSender(app: FastifyInstance): TestApp['send'] {
  return async (as, options) => {
    const request = typeof options === 'string' ? { url: options } : options
    const headers = { ...(as !== null && { 'x-subject': as }), ...request.headers }
    const reply = await app.inject({ ...request, headers })
    const isJson = String(reply.headers['content-type']).includes('json')
    const body = (isJson ? reply.json() : reply.body) as ReplyBody
    return { status: reply.statusCode, body, raw: reply.rawPayload, headers: reply.headers }
  }
}

/** Waits for a condition, by turns of the event loop and not by time. */
export async function waitFor(condition: () => boolean | Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 20_000; turn++) {
    if (await condition()) return
    await new Promise((resolve) => setImmediate(resolve))
  }
  throw new Error('the condition was not met')
}

/** A POST with a JSON body. */
export function post(url: string, payload?: object, headers: Record<string, string> = {}) {
  return { method: 'POST', url, headers, ...(payload && { payload }) } as const
}

/** The headers of a session with a fresh second factor. */
export const fresh = { 'x-proof': 'fresh' }

/** Opens a request as a subject and confirms it. @returns its id */
export async function openConfirmed(
  { send, messages }: Pick<TestApp, 'send' | 'messages'>,
  subject: string,
  type: string,
  details?: object,
): Promise<string> {
  const body = { type, ...(details && { details }) }
  const opened = await send(subject, post('/privacy/requests', body, fresh))
  if (opened.status !== 201) throw new Error(`not opened: ${JSON.stringify(opened.body)}`)
  const token = messages.findLast(({ kind }) => kind === 'confirm')!.token!
  const confirmed = await send(null, post('/privacy/requests/confirm', { token }))
  if (confirmed.status !== 200) throw new Error(`not confirmed: ${JSON.stringify(confirmed.body)}`)
  return opened.body.id
}

/** Runs the recurring job once, now. */
export async function runTick({ jobs }: Pick<TestApp, 'jobs'>): Promise<void> {
  const { key } = await jobs.enqueue('privacy.tick', {})
  await waitFor(async () => (await jobs.find('privacy.tick', key))?.state === 'done')
}

/** Lets time pass in steps, so that what is due runs; the jobs poll once in each step. */
export async function passTime({ clock }: Pick<TestApp, 'clock'>, ms: number): Promise<void> {
  clock.advance(ms)
  for (let step = 0; step < 5; step++) {
    for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
    clock.advance(1000)
  }
}

/** The statuses of replies, in ascending order. */
export function sorted(replies: readonly Pick<Reply, 'status'>[]): number[] {
  return replies.map(({ status }) => status).toSorted((a, b) => a - b)
}
