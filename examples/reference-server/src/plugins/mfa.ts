/** The options of `@parapet/mfa`: who needs a second factor, and where the factors are stored. */
import { createMemoryStore, generateCipherKey } from '@parapet/kit'
import { createStoreAccounts, PARAPET_MFA_PASSKEY_REFUSED, type MfaOptions } from '@parapet/mfa'
import type { FastifyInstance } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
import type { Config } from '../config/environment.ts'

/** Administrators must enrol a second factor within a week. */
export function createMfaOptions(app: FastifyInstance, config: Config): MfaOptions {
  const { hostname, origin } = new URL(config.publicUrl)
  return {
    issuer: 'Parapet reference server',
    ...createStorageOptions(app, config),
    store: app.store,
    passkeys: { rpId: hostname, origins: [origin] },
    roles: { admin: { graceSeconds: 604_800 } },
    adminRoles: ['admin'],
    revokeSessions: (userId) => app.sessions.revoke({ userId }, 'second factors were reset'),
    async signIn(proof, request, reply) {
      const user = await createAccounts(app.sql).findUser(proof.userId)
      // The passkey may belong to a user who was deleted.
      if (user === null) throw new PARAPET_MFA_PASSKEY_REFUSED()
      const { amr } = proof
      const grant = await app.sessions.start(user, { amr }, request)
      await app.mfa.assure(proof, grant.sessionId)
      return app.sessions.hand(reply, grant)
    },
  }
}

/** A generated key is lost on restart, so what it encrypts is stored in memory only. */
function createStorageOptions(
  app: FastifyInstance,
  { mfaKeys: keys }: Config,
): Pick<MfaOptions, 'keys' | 'sql' | 'accounts'> {
  if (keys !== undefined) return { keys, sql: app.sql }
  app.log.warn('mfa stores second factors in memory; they are lost on restart. Set MFA_KEYS.')
  return { keys: generateCipherKey(), accounts: createStoreAccounts(createMemoryStore()) }
}
