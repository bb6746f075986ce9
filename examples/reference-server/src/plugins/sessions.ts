/** The options of `@parapet/sessions`: keys and secrets, and login by e-mail address and password. */
import {
  createPasswordCheck,
  generateKey,
  generateSecret,
  type SessionsOptions,
} from '@parapet/sessions'
import { createLocalCipher, parseCipherKeys, type Jobs } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
import { passwordPolicy } from '../access/password-policy.ts'
import type { Config } from '../config/environment.ts'
import { createMessages } from '../mail/messages.ts'
import { createSendMail, type SendMail } from '../mail/transport.ts'
import { API } from '../http/api.ts'
import { createSealedJobs } from '../operation/sealed-jobs.ts'

/** Addresses in the queue are encrypted, if the key outlives the process as the queue does. */
function createMailJobs({ jobs }: FastifyInstance, { privacyKeys }: Config): Jobs {
  if (privacyKeys === undefined) return jobs
  return createSealedJobs(jobs, createLocalCipher(parseCipherKeys(privacyKeys)))
}

/** Generates the keys that the configuration does not set. */
export function createSessionsOptions(
  app: FastifyInstance,
  config: Config,
  sendMail: SendMail = createSendMail(config),
): SessionsOptions {
  const { signingKey, signingKeyPassphrase, sessionSecrets, publicUrl } = config
  if (signingKey === undefined || sessionSecrets === undefined) {
    app.log.warn(
      'sessions signs with keys of this process; all sessions are lost on restart, and without SESSION_SECRET ' +
        'accounts that are locked cannot be unlocked after it. Set SIGNING_KEY and SESSION_SECRET.',
    )
  }
  const passphrase = signingKeyPassphrase
  const current = signingKey === undefined ? generateKey(null) : { pem: signingKey, passphrase }
  const accounts = createAccounts(app.sql)
  const page = (name: string) => `${publicUrl}/account/${name}`
  return {
    issuer: publicUrl,
    audience: publicUrl,
    keys: { current },
    secrets: sessionSecrets ?? [generateSecret()],
    store: app.store,
    sql: app.sql,
    findUser: (id) => accounts.findUser(id),
    prefix: `${API}/auth`,
    credentials: createPasswordCheck({
      findAccount: (login) => accounts.findByLogin(login),
      saveHash: (...change) => accounts.saveHash(...change),
      onSaveFailed: (error) => app.log.warn({ err: error }, 'a stronger hash was not saved'),
    }),
    account: {
      jobs: createMailJobs(app, config),
      directory: accounts,
      messages: createMessages(sendMail),
      pages: {
        resetPassword: page('new-password'),
        verifyEmail: page('verify'),
        undoEmailChange: page('undo'),
      },
      policy: passwordPolicy,
    },
    // Administrators have every right of the others.
    impersonation: {
      allows: (operator, user) => operator.roles.includes('admin') && !user.roles.includes('admin'),
    },
    // A password alone does not log in to an account with a second factor. The plugin mfa is
    // registered after this one, so it is looked up at each login.
    secondFactor: {
      methodsOf: (...login) => app.mfa.secondFactor.methodsOf(...login),
      verify: (...login) => app.mfa.secondFactor.verify(...login),
      passkeyOptions: (...login) => app.mfa.secondFactor.passkeyOptions(...login),
      removeAll: (...undone) => app.mfa.secondFactor.removeAll(...undone),
    },
    // Browsers get cookies that no script can read; other clients get tokens in the body.
    cookies: {},
    // rbac decides for every route whether it requires a session.
    requireByDefault: false,
  }
}

/** During a rotation: a lock that nobody has read since would be unreadable as soon as its secret is removed. */
export async function resealLocks(
  { sessions, log }: FastifyInstance,
  { sessionSecrets = [] }: Config,
): Promise<void> {
  if (sessionSecrets.length < 2) return
  log.info(await sessions.resealAccounts(), 'sealed the locks of accounts by the newest secret')
}
