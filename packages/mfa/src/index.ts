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
import { addRoutes } from './http/routes.ts'
import { StepUp } from './http/step-up.ts'
import { resolveOptions, type MfaOptions, type MfaSettings } from './options.ts'
import { findDeviations } from './profiles/profile.ts'
import { createCallPort } from './service/call-port.ts'
import type { Mfa } from './service/mfa.ts'
import type { MfaRule } from './step-up/rules.ts'

// What an app needs beside the plugin, so that a strict package manager finds it.
export { createRedisStore, createSqlClient, generateCipherKey } from '@parapet/kit'
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
  Elevate,
  MfaOptions,
  PasskeyOptions,
  SignIn,
  ThrottleOptions,
  TotpOptions,
  TrustLogin,
} from './options.ts'
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
  const { roles, trustLogin } = settings
  const shared = { factors: context, principalOf }
  const parts = { ...shared, devices: mfa.devices, securityEvents, roles, trustLogin }
  const stepUp = new StepUp(app, parts)
  if (!settings.routes) return
  const { prefix, adminRoles, manageMaxAgeSeconds, deviceMaxAgeSeconds, passkeys } = settings
  const limits = { adminRoles, manageMaxAgeSeconds, deviceMaxAgeSeconds, passkeys }
  const { accountName, signIn, elevate } = settings
  const routes = { ...shared, ...limits, mfa, stepUp, callPort, accountName, signIn, elevate }
  await app.register(async (child) => addRoutes(child, routes), { prefix })
}

function logSettings(app: FastifyInstance, settings: MfaSettings): void {
  const { profile, store, sql, accounts } = settings
  const deviations = findDeviations(settings)
  if (deviations.length > 0) {
    const level = profile === undefined ? 'info' : 'warn'
    app.log[level]({ deviations }, 'mfa settings deviate from a standard, see "deviations"')
  }
  if (store === undefined && sql === undefined && accounts === undefined) {
    app.log.warn('mfa stores accounts in memory; they are lost on restart. Set "store" or "sql".')
  }
}

/** The plugin. Register it with `await`, after the login and before the routes that it protects. */
export const mfa: FastifyPluginAsync<MfaOptions> = fp(mfaPlugin, { name: NAME, fastify: '5.x' })
export default mfa
