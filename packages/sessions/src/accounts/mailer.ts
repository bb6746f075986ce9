/**
 * Sends messages by jobs. A route answers before the account is looked up, so neither the answer nor its
 * duration shows whether there is one. No payload has a secret: the token is made when the job runs.
 */
import { createHash, randomInt } from 'node:crypto'
import type { Enqueued, EnqueueOptions, Job, JobData, Jobs, Store } from '@parapet/kit'
import type { TokenEpochs } from '../revocation/epoch.ts'
import { callPort } from '../second-factor/second-factor.ts'
import type {
  Account,
  AccountDirectory,
  AccountMessages,
  AccountNotice,
  AccountPages,
  LinkMessage,
  NoticeDetails,
  NoticeKind,
} from './account.ts'
import {
  createLinkToken,
  hashSecret,
  type AccountTokens,
  type TokenPurpose,
} from './account-tokens.ts'
import type { AccountStates, WayBack } from './account-state.ts'
import { findByEmail, findById } from './find-account.ts'

/** A message that a client asked for; it is sent only if the account exists. */
export type RequestedMail = 'reset' | 'verify' | 'magic' | 'sign-up'

/** `owed-reset`: the service has made the reset necessary, so requests of others must not use up its room. */
type RequestedOrOwed = RequestedMail | 'owed-reset'

/** See {@link createMailer}. */
export interface Mailer {
  /** Stores the wish for a message. Rejects with the error of the jobs. */
  request(kind: RequestedOrOwed, email: string): Promise<void>
  /**
   * A link to the new address of an account.
   *
   * @param born see {@link AccountTokens.issue}: the wish may wait while the owner resets the password.
   */
  requestChange(userId: string, email: string, born: TokenEpochs): Promise<void>
  /**
   * A notice to the address of the account.
   *
   * @param email sent there instead, to an address that is not the account's any more.
   */
  notify(userId: string, kind: NoticeKind, details?: NoticeDetails, email?: string): Promise<void>
  /**
   * Stores the notice to an address that is about to be replaced, with the way back. It is sent later, so that it
   * is not lost if this process ends at once.
   */
  announceChange(userId: string, way: WayBack): Promise<ChangeNotice>
  /** A notice to the address of a way back, with the link. */
  notifyWithWayBack(
    userId: string,
    kind: NoticeKind,
    details: NoticeDetails,
    way: WayBack,
  ): Promise<void>
}

/** A notice that waits for a change of an address. */
interface ChangeNotice {
  /** The address was replaced: sends the notice now. */
  send(): Promise<void>
  /** The change has failed. */
  withdraw(): Promise<void>
}

/** What {@link createMailer} needs. */
export interface MailerSettings {
  readonly directory: AccountDirectory
  readonly messages: AccountMessages
  readonly pages: AccountPages
  readonly jobs: Jobs
  readonly store: Store
  readonly tokens: AccountTokens
  readonly states: AccountStates
  readonly now: () => number
}

const JOB = 'sessions.mail'
/**
 * A message that a client asked for waits until the answer is sent, and a random time. In one process, the work for an
 * account that exists would otherwise delay the answer, or the next one.
 */
const MIN_DELAY_MS = 200
const MAX_JITTER_MS = 800
/** When the notice of a change is sent if the process that changed the address has ended, in milliseconds. */
const NET_MS = 60_000
/** Messages that a client can cause as often as it likes. */
const LIMITED: ReadonlySet<string> = new Set(['reset', 'verify', 'magic', 'sign-up', 'change'])
/** How many messages of one kind an address gets in an hour, so that nobody can flood a mailbox. */
const PER_HOUR = { windowMs: 3_600_000, limit: 5 }

interface MailJob extends JobData {
  readonly kind: string
  readonly email: string
  readonly userId: string
  readonly at: number
}

interface NoticeJob extends MailJob {
  readonly notice: NoticeKind
  readonly details: NoticeDetails
}

interface WayBackJob extends NoticeJob {
  /** Names the way back. */
  readonly expiresAt: number
}

/** Creates the mailer, and defines its job. */
export function createMailer(settings: MailerSettings): Mailer {
  const { jobs, now } = settings
  const handle = createHandler(settings)
  const afterAnswer = (): number => now() + MIN_DELAY_MS + randomInt(MAX_JITTER_MS)
  jobs.define<MailJob>(JOB, handle, { retries: 8, concurrency: 4 })
  const enqueue = (data: Partial<MailJob>, options: EnqueueOptions = {}): Promise<Enqueued> =>
    jobs.enqueue(JOB, { kind: '', email: '', userId: '', at: now(), ...data }, options)

  return {
    async request(kind, email) {
      await enqueue({ kind, email }, { at: afterAnswer() })
    },
    async requestChange(userId, email, { user, fleet }) {
      await enqueue({ kind: 'change', userId, email, born: { user, fleet } }, { at: afterAnswer() })
    },
    async notify(userId, notice, details = {}, email = '') {
      await enqueue({ kind: 'notice', userId, email, notice, details })
    },
    async announceChange(userId, { email, expiresAt }) {
      const notice = { notice: 'email_changed', details: {} }
      const data = { kind: 'changed', userId, email, expiresAt, ...notice }
      const { key } = await enqueue(data, { at: now() + NET_MS })
      const withdraw = async (): Promise<void> => void (await jobs.cancel(JOB, key))
      return {
        async send() {
          await enqueue(data)
          await withdraw()
        },
        withdraw,
      }
    },
    async notifyWithWayBack(userId, notice, details, { email, expiresAt }) {
      await enqueue({ kind: 'way-back', userId, email, expiresAt, notice, details })
    },
  }
}

type Handler = (job: Job<MailJob>) => Promise<void>

function createHandler(settings: MailerSettings): Handler {
  const { directory, messages } = settings
  const handlers: Readonly<Record<string, Handler>> = {
    reset: ({ data }) => sendLink(settings, 'reset', data.email),
    'owed-reset': ({ data }) => sendLink(settings, 'reset', data.email),
    verify: ({ data }) => sendLink(settings, 'verify', data.email),
    magic: ({ data }) => sendLink(settings, 'magic', data.email),
    async 'sign-up'({ data }) {
      const account = await findByEmail(directory, data.email)
      if (account === null || !account.isEmailVerified)
        return sendLink(settings, 'verify', data.email)
      return sendNotice(settings, account.email, {
        ...noticeOf(account, 'address_in_use', data.at),
      })
    },
    async change({ data }) {
      const taken = await findByEmail(directory, data.email)
      if (taken !== null && taken.isEmailVerified && taken.user.id !== data.userId) {
        return sendNotice(settings, taken.email, noticeOf(taken, 'address_in_use', data.at))
      }
      const account = await findById(directory, data.userId)
      const { born } = data as MailJob & { readonly born: TokenEpochs }
      if (account === null || account.disabled === true) return
      await sendChange(settings, account, data.email, born)
    },
    async changed({ data }) {
      const account = await findById(directory, data.userId)
      if (account === null) return
      // The change has failed after all.
      if (account.email === data.email) return
      await sendWayBack(settings, account, data as WayBackJob)
    },
    async 'way-back'({ data }) {
      const account = await findById(directory, data.userId)
      if (account !== null) await sendWayBack(settings, account, data as WayBackJob)
    },
    // Writing a state leaves out the ways back that have expired.
    expire: async ({ data }) => void (await settings.states.update(data.userId, (state) => state)),
    async notice({ data }) {
      const account = await findById(directory, data.userId)
      if (account === null) return
      const { notice, details, email, at } = data as NoticeJob
      const to = email === '' ? account.email : email
      await callPort(() =>
        messages.sendNotice({ ...noticeOf(account, notice, at), email: to, details }),
      )
    },
  }
  return async (job) => {
    const { kind, email } = job.data
    const isLimited = LIMITED.has(kind) && job.attempt === 1
    if (isLimited && !(await hasRoom(settings.store, kind, email))) return
    const send = handlers[kind]
    // An instance of a newer version has made the job, and sends it when the job is tried again.
    if (send === undefined) throw new Error(`this version knows no message of the kind "${kind}"`)
    await send(job)
  }
}

/** Sends a link if there is an account that may have it. */
async function sendLink(
  settings: MailerSettings,
  purpose: Exclude<TokenPurpose, 'change'>,
  email: string,
): Promise<void> {
  const { directory, messages, tokens, pages } = settings
  const account = await findByEmail(directory, email)
  if (account === null || account.disabled === true) return
  if (purpose === 'verify' && account.isEmailVerified) return
  // A link to an address that nobody has verified could log in to an account of someone else.
  if (purpose === 'magic' && !account.isEmailVerified) return
  const issued = await tokens.issue(purpose, account)
  const page =
    purpose === 'reset'
      ? pages.resetPassword
      : purpose === 'verify'
        ? pages.verifyEmail
        : (pages.magicLink ?? pages.resetPassword)
  const message = messageOf(account, account.email, page, issued)
  await callPort(async () => {
    if (purpose === 'reset') return messages.sendPasswordReset(message)
    if (purpose === 'verify') return messages.sendEmailVerification({ ...message, isChange: false })
    return messages.sendMagicLink?.(message)
  })
}

async function sendChange(
  { messages, tokens, pages }: MailerSettings,
  account: Account,
  email: string,
  born: TokenEpochs,
): Promise<void> {
  const issued = await tokens.issue('change', account, email, born)
  const message = messageOf(account, email, pages.verifyEmail, issued)
  await callPort(() => messages.sendEmailVerification({ ...message, isChange: true }))
}

async function sendWayBack(
  { messages, states, pages, jobs }: MailerSettings,
  account: Account,
  { email, userId, at, expiresAt, notice: kind, details }: WayBackJob,
): Promise<void> {
  const [token, secret] = createLinkToken('undo', userId)
  const { waysBack } = await states.update(userId, (state) => ({
    ...state,
    waysBack: state.waysBack.map((way) =>
      way.expiresAt === expiresAt ? { ...way, hash: hashSecret(secret) } : way,
    ),
  }))
  if (!waysBack.some((way) => way.expiresAt === expiresAt)) return
  const link = `${pages.undoEmailChange}#token=${token}`
  const undo = { token, link, expiresAt }
  const notice = { ...noticeOf(account, kind, at), email, details, undo }
  // A former address is not kept longer than it is needed.
  await jobs.enqueue(JOB, { kind: 'expire', email: '', userId, at }, { at: expiresAt })
  await callPort(() => messages.sendNotice(notice))
}

async function sendNotice(
  { messages }: MailerSettings,
  email: string,
  notice: AccountNotice,
): Promise<void> {
  await callPort(() => messages.sendNotice({ ...notice, email }))
}

function noticeOf({ user, email }: Account, kind: NoticeKind, at: number): AccountNotice {
  return { kind, userId: user.id, email, at, details: {} }
}

function messageOf(
  { user }: Account,
  email: string,
  page: string,
  { token, expiresAt }: { readonly token: string; readonly expiresAt: number },
): LinkMessage {
  return { userId: user.id, email, token, link: `${page}#token=${token}`, expiresAt }
}

async function hasRoom(store: Store, kind: string, email: string): Promise<boolean> {
  const hash = createHash('sha256').update(email.toLowerCase()).digest('base64url')
  return (await store.count(`sessions:mail:${kind}:${hash}`, [PER_HOUR])).counted
}
