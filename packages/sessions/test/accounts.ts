/** An application with a user table and a mailbox, for the tests of accounts. */
import {
  createPasswordCheck,
  hashPassword,
  type Account,
  type AccountDirectory,
  type AccountMessages,
  type AccountNotice,
  type AccountOptions,
  type LinkMessage,
  type SessionsOptions,
} from '@parapet/sessions'
import { EventEmitter, once } from 'node:events'
import { createMemoryJobs } from '@parapet/kit'
import type { LightMyRequestResponse } from 'fastify'
import type { Test } from 'tap'
import { build, type Built } from './build.ts'

export const password = 'correct horse battery staple'
export const newPassword = 'seven purple tandem otters'
export const passwordHash = await hashPassword(password)

/** A message as a test sees it. */
interface Mail {
  readonly kind: string
  readonly email: string
  readonly token: string
  readonly link: string
  readonly details: AccountNotice['details']
}

/** Everything that was sent. `next` resolves with the next message of a kind that nobody has read yet. */
function createMailbox(withMagicLinks = true) {
  const sent: Mail[] = []
  const unread: Mail[] = []
  const arrivals = new EventEmitter()
  const deliver = (mail: Mail): void => {
    sent.push(mail)
    unread.push(mail)
    arrivals.emit('mail')
  }
  const put = async (kind: string, { email, token, link }: LinkMessage): Promise<void> => {
    deliver({ kind, email, token, link, details: {} })
  }
  const messages: AccountMessages = {
    sendPasswordReset: (message) => put('reset', message),
    sendEmailVerification: (message) => put(message.isChange ? 'change' : 'verify', message),
    async sendNotice({ kind, email, undo, details }) {
      const { token = '', link = '' } = undo ?? {}
      deliver({ kind, email, token, link, details })
    },
    ...(withMagicLinks ? { sendMagicLink: (message: LinkMessage) => put('magic', message) } : {}),
  }
  const next = async (kind: string): Promise<Mail> => {
    for (;;) {
      const index = unread.findIndex((mail) => mail.kind === kind)
      if (index !== -1) return unread.splice(index, 1)[0]!
      await once(arrivals, 'mail')
    }
  }
  return { sent, messages, next }
}

interface Row {
  id: string
  email: string
  isEmailVerified: boolean
  passwordHash: string | null
  disabled?: boolean
}

/** The user table, and how often it was asked. */
export function createTable(...rows: Row[]) {
  const counts = { lookups: 0, saves: 0 }
  const find = (test: (row: Row) => boolean): Account | null => {
    counts.lookups++
    const row = rows.find(test)
    if (row === undefined) return null
    return { ...row, user: { id: row.id, roles: ['reader'] }, words: ['Ada Lovelace'] }
  }
  const directory: AccountDirectory = {
    findById: async (id) => find((row) => row.id === id),
    findByEmail: async (email) => find((row) => row.email.toLowerCase() === email.toLowerCase()),
    async savePassword(id, next, previous) {
      const row = rows.find((each) => each.id === id && each.passwordHash === previous)
      if (row === undefined) return false
      counts.saves++
      row.passwordHash = next
      return true
    },
    async verifyEmail(id, email) {
      const row = rows.find((each) => each.id === id && each.email === email)
      if (row === undefined) return false
      row.isEmailVerified = true
      return true
    },
    async saveEmail(id, email, previous) {
      const row = rows.find((each) => each.id === id && each.email === previous)
      const taken = rows.find((each) => each.email === email && each !== row)
      if (row === undefined || taken?.isEmailVerified === true) return false
      if (taken !== undefined) rows.splice(rows.indexOf(taken), 1)
      row.email = email
      row.isEmailVerified = true
      return true
    },
  }
  return { rows, directory, counts }
}

const pages = {
  resetPassword: 'https://app.example.com/reset',
  verifyEmail: 'https://app.example.com/verify',
  undoEmailChange: 'https://app.example.com/undo',
  magicLink: 'https://app.example.com/magic',
}

export type AccountApp = Awaited<ReturnType<typeof buildAccounts>>

/** The options of a service with the accounts `ada@example.com` and `eve@example.com`, which are verified. */
export function accountOptions(t: Test, account: Partial<AccountOptions> = {}) {
  const mailbox = createMailbox()
  const table = createTable(
    { id: 'ada', email: 'ada@example.com', isEmailVerified: true, passwordHash },
    { id: 'eve', email: 'eve@example.com', isEmailVerified: true, passwordHash },
  )
  const { directory } = table
  const jobs = createMemoryJobs({ pollMs: 10, onNotice: () => {} })
  // The timers of jobs do not keep the process alive.
  const alive = setInterval(() => {}, 1000)
  t.after(async () => {
    clearInterval(alive)
    await jobs.close()
  })
  const options = {
    prefix: '/auth',
    hashing: { maxWaiting: 200 },
    findUser: async (id) => (await directory.findById(id))?.user ?? null,
    credentials: createPasswordCheck({
      async findAccount(login) {
        const found = await directory.findByEmail(login)
        const { user, isEmailVerified, passwordHash: stored = null } = found ?? {}
        if (user === undefined || stored === null) return null
        return { user, passwordHash: stored, disabled: isEmailVerified !== true }
      },
    }),
    account: { directory, messages: mailbox.messages, pages, jobs, ...account },
  } satisfies Partial<SessionsOptions>
  return { mailbox, table, jobs, options }
}

/** An app with {@link accountOptions}. */
export async function buildAccounts(
  t: Test,
  options: Partial<SessionsOptions> = {},
  account: Partial<AccountOptions> = {},
) {
  const { mailbox, table, jobs, options: defaults } = accountOptions(t, account)
  const built: Built = await build(t, { ...defaults, ...options })
  const { app } = built
  await app.ready()
  await jobs.start()
  const post = (
    url: string,
    body: object,
    token?: string,
    method: 'POST' | 'PATCH' | 'DELETE' = 'POST',
  ): Promise<LightMyRequestResponse> =>
    app.inject({
      method,
      url: `/auth${url}`,
      body,
      headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    })
  const logIn = async (email = 'ada@example.com', secret = password) => {
    const reply = await post('/login', { login: email, password: secret })
    return reply.json<{ access_token: string; refresh_token: string }>().access_token
  }
  const resetToken = async (email = 'ada@example.com'): Promise<string> => {
    await post('/password/forgot', { email })
    return (await mailbox.next('reset')).token
  }
  return { ...built, mailbox, table, post, logIn, resetToken }
}
