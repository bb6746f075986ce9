/** The options of `@parapet/mfa`: who needs a second factor, and where the factors are stored. */
import { createMemoryStore, generateCipherKey } from '@parapet/kit'
import {
  createStoreAccounts,
  PARAPET_MFA_PASSKEY_REFUSED,
  type MfaOptions,
  type MfaProof,
} from '@parapet/mfa'
import type { FastifyInstance } from 'fastify'
import { createAccounts } from '../access/accounts.ts'
import { roles } from '../access/policy.ts'
import type { Config } from '../config/environment.ts'
import { API } from '../http/api.ts'

/**
 * What each role must show on every route, also on those of other plugins. An account that has a second
 * factor is used with it, also in sessions that are older than the factor.
 */
const requirements: NonNullable<MfaOptions['roles']> = {
  ...Object.fromEntries(roles.map((role) => [role, { ifEnrolled: true }])),
  // Administrators must enrol a second factor within a week.
  admin: { graceSeconds: 604_800 },
}

/** Creates the options. */
export function createMfaOptions(app: FastifyInstance, config: Config): MfaOptions {
  const { hostname, origin } = new URL(config.publicUrl)
  const accounts = createAccounts(app.sql)
  return {
    issuer: 'Parapet reference server',
    prefix: `${API}/mfa`,
    ...createStorageOptions(app, config),
    store: app.store,
    passkeys: { rpId: hostname, origins: [origin] },
    roles: requirements,
    adminRoles: ['admin'],
    // While anomaly-guard suspects a user, every session of that user shows a factor anew.
    demandedSince: (_principal, request) => request.anomaly.stepUpSince,
    // A session without a row is one of a user who was deleted meanwhile.
    accountName: async (_request, { id }) => (await accounts.findEmail(id)) ?? id,
    revokeSessions: (userId) => app.sessions.revoke({ userId }, 'second factors were reset'),
    notify: (notice) => app.sessions.account.factorChanged(notice),
    async signIn(proof, request, reply) {
      const user = await accounts.findUser(proof.userId)
      // The passkey may belong to a user who was deleted.
      if (user === null) throw new PARAPET_MFA_PASSKEY_REFUSED()
      const grant = await app.sessions.start(user, shownBy(proof), request)
      await app.mfa.assure(proof, grant.sessionId)
      return app.sessions.hand(reply, grant)
    },
    // The tokens from before the proof become invalid: one that was stolen gains nothing from it.
    async elevate(proof, request, reply) {
      if (request.sessions === null) return null
      const bind = (sessionId: string) => app.mfa.assure(proof, sessionId)
      const shown = { ...shownBy(proof), bind }
      const grant = await app.sessions.elevate(request.sessions.sessionId, shown, request)
      return app.sessions.hand(reply, grant)
    },
  }
}

/** What a proof says in the tokens of a session. */
function shownBy({ amr, aal, phishingResistant, provedAt }: MfaProof) {
  // A second factor alone, in a session that has shown two before, leaves its level as it is.
  const acr = aal === 1 ? undefined : { acr: phishingResistant ? 'phr' : 'aal2' }
  return { amr, ...acr, authenticatedAt: provedAt }
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
