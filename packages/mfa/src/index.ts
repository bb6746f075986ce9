/**
 * A second factor for a Fastify app: authenticator apps, backup codes, passkeys, and step-up.
 *
 * Each account is one sealed record that changes by compare-and-set, so a code, ticket or challenge
 * works once across all instances. Rules of routes are compiled as routes are declared.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { migrateAccounts } from './account/accounts-postgres.ts'
import { assemble } from './assemble.ts'
import { events } from './events.ts'
import type { FactorContext } from './factors/context.ts'
import { createRecentLogin } from './http/recent-login.ts'
import { addRoutes } from './http/routes.ts'
import { StepUp } from './http/step-up.ts'
import { resolveOptions, type MfaOptions, type MfaSettings } from './options.ts'
import { findDeviations } from './profiles/profile.ts'
import { createCallPort } from './service/call-port.ts'
import type { Mfa } from './service/mfa.ts'
import type { MfaRule } from './step-up/rules.ts'

// What an app needs beside the plugin, so that a strict package manager finds it.
export { createRedisStore, createSqlClient, generateCipherKey } from '@parapet/kit'
export type { Resealed } from '@parapet/kit'
export type { RememberedDevice } from './account/account.ts'
export type {
  AccountRepository,
  CredentialChange,
  StoredAccount,
} from './account/account-repository.ts'
export { createSqlAccounts, migrations } from './account/accounts-postgres.ts'
export { createStoreAccounts } from './account/accounts-store.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations; an import for its side effect would be dropped.
export type * from './events.ts'
export type { CodeVerified } from './factors/code-attempt.ts'
export type { Notice, Origin } from './factors/context.ts'
export type {
  AccountName,
  DecisionHook,
  Elevate,
  MfaOptions,
  PasskeyOptions,
  SignIn,
  ThrottleOptions,
  TotpOptions,
  TrustLogin,
} from './options.ts'
export type { ImportFactors, ImportOptions, ImportReport } from './service/import-factors.ts'
export type { ImportedFactors, ImportFault } from './service/read-import.ts'
export type { Passkey } from './passkeys/passkey.ts'
export type { MfaProof } from './proofs/proof.ts'
export type { Mfa, MfaStatus, MfaTotp } from './service/mfa.ts'
export type {
  LoginRequest,
  SecondFactor,
  SecondFactorContext,
  SecondFactorProof,
  SecondFactorResult,
} from './service/second-factor.ts'
export type { MfaRequirement, MfaRule, RoleRequirement } from './step-up/rules.ts'
export type { TotpEnrolment } from './totp/totp-enrolment.ts'

declare module 'fastify' {
  interface FastifyInstance {
    mfa: Mfa
  }
  interface FastifyContextConfig {
    /** What the route requires of the session beyond a login. @default what the caller's roles do */
    mfa?: MfaRule
  }
}

const NAME = '@parapet/mfa'

async function mfaPlugin(app: FastifyInstance, options: MfaOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'step-up')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const emit: FactorContext['emit'] = (type, userId, details, { request }, severity) => {
    const subject = userId === '' ? undefined : { principalId: userId }
    const fields = { ...subject, details, ...(severity === undefined ? undefined : { severity }) }
    securityEvents.emit(type, fields, request as FastifyRequest | undefined)
  }
  const onNotifyFailed = (error: unknown): void =>
    app.log.error({ err: error }, 'mfa could not notify the user: the option "notify" threw')
  const callPort = createCallPort(settings.clock)
  const { mfa, context, close } = await assemble(settings, { emit, onNotifyFailed, callPort })
  if (settings.sql !== undefined) await migrateAccounts(settings.sql)
  logSettings(app, settings)

  app.decorate('mfa', mfa)
  app.addHook('onClose', close)
  const { roles, trustLogin, demandedSince } = settings
  const shared = { factors: context, principalOf }
  const { hook } = settings
  const parts = {
    ...shared,
    devices: mfa.devices,
    securityEvents,
    roles,
    trustLogin,
    demandedSince,
    hook,
  }
  const stepUp = new StepUp(app, parts)
  if (!settings.routes) return
  const { prefix, adminRoles, manageMaxAgeSeconds, deviceMaxAgeSeconds, passkeys } = settings
  const limits = { adminRoles, manageMaxAgeSeconds, deviceMaxAgeSeconds, passkeys }
  const { accountName, signIn, elevate } = settings
  const requireRecentLogin = createRecentLogin({
    log: app.log,
    now: context.now,
    manageMaxAgeSeconds,
    refusesUnknownAge: settings.profile !== undefined,
  })
  const ports = { callPort, accountName, signIn, elevate, requireRecentLogin }
  const routes = { ...shared, ...limits, ...ports, mfa, stepUp }
  await app.register(async (child) => addRoutes(child, routes), { prefix })
}

const ACCOUNTS_IN_MEMORY =
  'mfa stores accounts in memory; they are lost on restart. Set "store" or "sql".'
const ACCOUNTS_IN_STORE =
  'mfa stores accounts in "store". If it loses them, for instance by FLUSHALL or an eviction, passwords alone ' +
  'are enough. Set "sql", or "accounts: createStoreAccounts(store)" if the store is durable.'
const PROOFS_IN_MEMORY =
  'mfa stores proofs and limits in the memory of this process. With several instances, a reset on one leaves ' +
  'the proofs on others valid. Set "store".'

function logSettings(app: FastifyInstance, settings: MfaSettings): void {
  const { profile, store, sql, accounts } = settings
  const deviations = findDeviations(settings)
  if (deviations.length > 0) {
    const level = profile === undefined ? 'info' : 'warn'
    app.log[level]({ deviations }, 'mfa settings deviate from a standard, see "deviations"')
  }
  const hasOwnStorage = sql !== undefined || accounts !== undefined
  if (store === undefined) app.log.warn(hasOwnStorage ? PROOFS_IN_MEMORY : ACCOUNTS_IN_MEMORY)
  else if (!hasOwnStorage) app.log.warn(ACCOUNTS_IN_STORE)
}

/** The plugin. Register it with `await`, after the login and before the routes that it protects. */
export const mfa: FastifyPluginAsync<MfaOptions> = fp(mfaPlugin, { name: NAME, fastify: '5.x' })
export default mfa
