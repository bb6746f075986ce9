/** The options of `@parapet/sessions`: keys and secrets, and login by e-mail address and password. */
import {
  createPasswordCheck,
  generateKey,
  generateSecret,
  type SessionsOptions,
} from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
import type { Config } from '../config/environment.ts'

/** Generates the keys that the configuration does not set. */
export function createSessionsOptions(app: FastifyInstance, config: Config): SessionsOptions {
  const { signingKey, signingKeyPassphrase, sessionSecret, publicUrl } = config
  if (signingKey === undefined || sessionSecret === undefined) {
    app.log.warn(
      'sessions signs with keys of this process; all sessions are lost on restart. ' +
        'Set SIGNING_KEY and SESSION_SECRET.',
    )
  }
  const passphrase = signingKeyPassphrase
  const current = signingKey === undefined ? generateKey(null) : { pem: signingKey, passphrase }
  const accounts = createAccounts(app.sql)
  return {
    issuer: publicUrl,
    audience: publicUrl,
    keys: { current },
    secrets: [sessionSecret ?? generateSecret()],
    store: app.store,
    sql: app.sql,
    findUser: (id) => accounts.findUser(id),
    prefix: '/auth',
    credentials: createPasswordCheck({ findAccount: (login) => accounts.findByLogin(login) }),
    // A password alone does not log in to an account with a second factor. The plugin mfa is
    // registered after this one, so it is looked up at each login.
    secondFactor: {
      methodsOf: (...login) => app.mfa.secondFactor.methodsOf(...login),
      verify: (...login) => app.mfa.secondFactor.verify(...login),
      passkeyOptions: (...login) => app.mfa.secondFactor.passkeyOptions(...login),
    },
    // rbac decides for every route whether it requires a session.
    requireByDefault: false,
  }
}
