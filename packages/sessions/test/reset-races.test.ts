/** Logins that are on their way while the password is reset. */
import { createManualClock, createMemoryJobs } from '@parapet/kit'
import { createPasswordCheck, type SecondFactor, type SessionsOptions } from '@parapet/sessions'
import t, { type Test } from 'tap'
import { buildAccounts, newPassword, password } from './accounts.ts'
import { eventsOf, refusalOf } from './build.ts'

const failed = [401, 'PARAPET_SESSIONS_LOGIN_FAILED']
const ticketRefused = [401, 'PARAPET_SESSIONS_TICKET_REFUSED']

/** An app in which Ada resets the password as soon as somebody else gets to a point of a login. */
async function build(t: Test, options: (point: () => Promise<void>) => Partial<SessionsOptions>) {
  let reset: (() => Promise<void>) | undefined
  const point = async (): Promise<void> => {
    const run = reset
    reset = undefined
    await run?.()
  }
  const built = await buildAccounts(t, options(point))
  const arm = async (): Promise<void> => {
    const token = await built.resetToken()
    reset = async () => {
      await built.post('/password/reset', { token, password: newPassword })
    }
  }
  const live = async () => (await built.app.sessions.list('ada')).length
  return { ...built, arm, live }
}

await t.test('a login with the old password does not outlive the reset', async (t) => {
  const { post, arm, live, logIn, table, events } = await build(t, (point) => ({
    credentials: async (given) => {
      const found = await createPasswordCheck({
        async findAccount(login) {
          const row = table.rows.find(({ email }) => email === login)
          const { id, passwordHash } = row ?? {}
          if (id === undefined || typeof passwordHash !== 'string') return null
          return { user: { id, roles: [] }, passwordHash }
        },
      })(given)
      await point()
      return found
    },
  }))
  await arm()
  const login = { login: 'ada@example.com', password }
  t.same(refusalOf(await post('/login', login)), failed)
  t.equal(await live(), 0)
  t.equal(eventsOf(events, 'sessions.login_failed').length, 1)
  t.ok(await logIn('ada@example.com', newPassword))
  t.equal(await live(), 1)
})

await t.test('a second step does not outlive the reset', async (t) => {
  const { post, arm, live } = await build(t, (point) => {
    const secondFactor: SecondFactor = {
      methodsOf: async () => ['totp'],
      async verify() {
        await point()
        return { amr: ['otp'] }
      },
    }
    return { secondFactor }
  })
  const login = { login: 'ada@example.com', password }
  const { ticket } = (await post('/login', login)).json<{ ticket: string }>()
  await arm()
  t.same(refusalOf(await post('/login/second-factor', { ticket, code: '123456' })), ticketRefused)
  t.equal(await live(), 0)
})

await t.test('a magic link does not outlive the reset', async (t) => {
  const { post, arm, live, mailbox } = await build(t, (point) => {
    const secondFactor: SecondFactor = {
      async methodsOf() {
        await point()
        return []
      },
      verify: async () => ({ amr: ['otp'] }),
    }
    return { secondFactor }
  })
  await post('/login/magic-link', { email: 'ada@example.com' })
  const { token } = await mailbox.next('magic')
  await arm()
  t.same(refusalOf(await post('/login/magic-link/finish', { token })), failed)
  t.equal(await live(), 0)
})

await t.test('a new address that was asked for before the reset is not set after it', async (t) => {
  const clock = createManualClock(Date.UTC(2026, 0, 15))
  const jobs = createMemoryJobs({ clock, onNotice: () => {} })
  t.after(() => jobs.close())
  const { post, logIn, mailbox, table } = await buildAccounts(t, { clock }, { jobs })
  await jobs.start()
  /** Lets the waiting jobs run. @returns the token of the message. */
  const deliver = async (kind: string): Promise<string> => {
    for (;;) {
      const mail = mailbox.sent.find((each) => each.kind === kind)
      if (mail !== undefined) return mail.token
      clock.advance(1000)
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  await post('/password/forgot', { email: 'ada@example.com' })
  const token = await deliver('reset')
  const thief = await logIn()
  const change = { current: password, email: 'eve@evil.example' }
  t.equal((await post('/email', change, thief)).statusCode, 202)
  t.equal((await post('/password/reset', { token, password: newPassword })).statusCode, 204)
  const link = { token: await deliver('change') }
  const refused = [401, 'PARAPET_SESSIONS_LINK_REFUSED']
  t.same(refusalOf(await post('/email/verify', link)), refused)
  t.equal(table.rows[0]!.email, 'ada@example.com')
})
