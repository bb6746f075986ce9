/** Second factors: who is asked for one, and where the accounts of those who have one are kept. */
import { createMemoryStore, generateCipherKey } from '@parapet/kit'
import { createStoreAccounts, PARAPET_MFA_PASSKEY_REFUSED, type MfaOptions } from '@parapet/mfa'
import type { FastifyInstance } from 'fastify'
import type { Config } from './config.ts'
import { createAccounts } from './sessions.ts'

/** The options of the mfa plugin in this service. */
export function createMfaOptions(app: FastifyInstance, config: Config): MfaOptions {
  const { hostname, origin } = new URL(config.publicUrl)
  return {
    issuer: 'Parapet reference server',
    ...keeping(app, config),
    store: app.store,
    passkeys: { rpId: hostname, origins: [origin] },
    roles: { admin: { graceSeconds: 604_800 } },
    adminRoles: ['admin'],
    revokeSessions: (userId) => app.sessions.revoke({ userId }, 'second factors were reset'),
    async signIn(proof, request, reply) {
      const user = await createAccounts(app.sql).findUser(proof.userId)
      // The passkey outlived its user: nobody is there to sign in.
      if (user === null) throw new PARAPET_MFA_PASSKEY_REFUSED()
      const { amr } = proof
      const grant = await app.sessions.start(user, { amr }, request)
      await app.mfa.assure(proof, grant.sessionId)
      return app.sessions.hand(reply, grant)
    },
  }
}

/** What a key made at start has sealed nobody reads after it: then nothing may outlive the process. */
function keeping(
  app: FastifyInstance,
  { mfaKeys: keys }: Config,
): Pick<MfaOptions, 'keys' | 'sql' | 'accounts'> {
  if (keys !== undefined) return { keys, sql: app.sql }
  app.log.warn('MFA_KEYS is not set: second factors end with this process')
  return { keys: generateCipherKey(), accounts: createStoreAccounts(createMemoryStore()) }
}
