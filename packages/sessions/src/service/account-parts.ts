/** Puts together what the option `account` needs. */
import { createMemoryJobs, type Clock, type Jobs, type SecurityEvents } from '@parapet/kit'
import type { AccountDirectory, AccountMessages, AccountPages } from '../accounts/account.ts'
import type { AccountStates } from '../accounts/account-state.ts'
import { createAccountTokens } from '../accounts/account-tokens.ts'
import { findById } from '../accounts/find-account.ts'
import { createMailer, type Mailer } from '../accounts/mailer.ts'
import { createPasswordPolicy, type PasswordPolicy } from '../password-policy/password-policy.ts'
import type { SecondFactor } from '../second-factor/second-factor.ts'
import type { LoginHash } from '../secrets/login-hash.ts'
import type { SessionContext } from '../session/context.ts'
import { AccountService } from './account-service.ts'
import type { Notify } from './device-watch.ts'
import type { LinkedIdentities } from './linked-identities.ts'
import { OwnAccount } from './own-account.ts'
import type { SecondStep } from './second-step.ts'
import type { SessionService } from './session-service.ts'
import { WaysBack } from './ways-back.ts'

/** The option `account` with the defaults filled in. */
export interface AccountOptionSettings {
  readonly directory: AccountDirectory
  readonly messages: AccountMessages
  readonly pages: AccountPages
  /** `undefined`: the memory of this process. */
  readonly jobs: Jobs | undefined
  readonly policy: PasswordPolicy | undefined
}

/** What {@link createAccountMail} needs. */
export interface AccountMailSettings {
  readonly account: AccountOptionSettings | undefined
  readonly context: SessionContext
  readonly states: AccountStates
  readonly secrets: readonly string[]
  readonly clock: Clock
  readonly log: {
    info(message: string): void
    error(fields: object, message: string): void
  }
}

/** The messages of accounts. Without the option `account`, none are sent. */
export interface AccountMail {
  readonly mailer: Mailer | undefined
  readonly tokens: ReturnType<typeof createAccountTokens>
  readonly notify: Notify
  readonly sendReset: (userId: string) => Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
}

const nothing = async (): Promise<void> => {}

const JOBS_FAILED = 'sessions could not send a message and tries again; see "account.messages"'

/** Creates the messages, and their jobs where the application gives none. */
export function createAccountMail(settings: AccountMailSettings): AccountMail {
  const { account, context, states, secrets, clock, log } = settings
  const { store, seal, epochs, now } = context
  const tokens = createAccountTokens({ store, seal, epochs, secrets, now })
  const none = { mailer: undefined, tokens, notify: nothing, sendReset: nothing }
  if (account === undefined) return { ...none, start: nothing, stop: nothing }
  const own =
    account.jobs === undefined
      ? createMemoryJobs({
          clock,
          onError: (error) => log.error({ err: error }, JOBS_FAILED),
          onNotice: () =>
            log.info('sessions sends messages from memory. Set "account.jobs" to keep them.'),
        })
      : undefined
  const jobs = account.jobs ?? own!
  const { directory, messages, pages } = account
  const mailer = createMailer({ directory, messages, pages, jobs, store, tokens, states, now })
  return {
    mailer,
    tokens,
    notify: (userId, kind, details) => mailer.notify(userId, kind, details),
    async sendReset(userId) {
      const found = await findById(directory, userId)
      if (found !== null) await mailer.request('owed-reset', found.email)
    },
    start: async () => own?.start(),
    stop: async () => own?.close({ drainMs: 2000 }),
  }
}

/** The steps behind the routes of accounts. */
export interface AccountParts {
  readonly accounts: AccountService
  readonly own: OwnAccount
  readonly waysBack: WaysBack
  readonly mailer: Mailer
}

/** What {@link createAccountParts} needs. */
export interface AccountPartSettings extends Pick<AccountMailSettings, 'context' | 'states'> {
  readonly account: AccountOptionSettings | undefined
  readonly mail: AccountMail
  readonly sessions: SessionService
  readonly secondStep: SecondStep
  readonly securityEvents: SecurityEvents
  readonly hashLogin: LoginHash
  readonly secondFactor: SecondFactor | undefined
  readonly identities: Pick<LinkedIdentities, 'removeSince'>
}

/** Creates the steps; `undefined` without the option `account`. */
export function createAccountParts(settings: AccountPartSettings): AccountParts | undefined {
  const { account, mail, context, states, sessions, secondStep, securityEvents } = settings
  const { mailer, tokens } = mail
  if (account === undefined || mailer === undefined) return undefined
  const { directory, policy = createPasswordPolicy() } = account
  const { store, now } = context
  const shared = { directory, mailer, sessions, securityEvents, now }
  const { hashLogin, secondFactor, identities } = settings
  const links = { tokens, states, identities }
  const endAccess = (userId: string): Promise<void> =>
    sessions.revoke({ userId }, 'the account was put back')
  const waysBack = new WaysBack({ ...shared, ...links, secondFactor, endAccess })
  const steps = { secondStep, hashLogin, waysBack, policy }
  const accounts = new AccountService({ ...shared, ...links, ...steps })
  const own = new OwnAccount({ ...shared, accounts, tokens, store, secondFactor })
  return { accounts, own, waysBack, mailer }
}
