/**
 * A second factor for a Fastify app: authenticator apps, backup codes, passkeys, and step-up.
 *
 * Every account is one sealed record that changes in one atomic step, so whatever works once works
 * once in the whole fleet. Route rules are compiled as routes are declared.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { migrateAccounts } from './accounts-postgres.ts'
import type { Core } from './core.ts'
import { events } from './events.ts'
import { assemble } from './assemble.ts'
import type { Mfa } from './mfa.ts'
import { resolveOptions, type MfaOptions } from './options.ts'
import { addRoutes } from './routes.ts'
import { readRoute, StepUp } from './step-up-hooks.ts'
import type { MfaRule } from './step-up.ts'

export { createSqlAccounts, migrations } from './accounts-postgres.ts'
export { createStoreAccounts } from './accounts-store.ts'
export * from './errors.ts'
export type { AccountRepository, CredentialChange, StoredAccount } from './accounts.ts'
export type { Passkey, RememberedDevice } from './account.ts'
export type { CodeVerified } from './attempts.ts'
export type { Notice, Origin } from './core.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { Mfa, MfaStatus, MfaTotp } from './mfa.ts'
export type { MfaOptions, PasskeyOptions, SignIn, ThrottleOptions, TotpOptions } from './options.ts'
export type { MfaProof } from './proof.ts'
export type { TotpEnrolment } from './totp-proofs.ts'
export type { MfaRequirement, MfaRule, RoleRequirement } from './step-up.ts'

declare module 'fastify' {
  interface FastifyInstance {
    mfa: Mfa
  }
  interface FastifyContextConfig {
    /** What the route asks of the session beyond a login. @default what the caller's roles ask */
    mfa?: MfaRule
  }
}

const NAME = '@parapet/mfa'

async function mfaPlugin(app: FastifyInstance, options: MfaOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'step-up')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const emit: Core['emit'] = (type, userId, details, { request }, severity) => {
    const who = userId === '' ? undefined : { principalId: userId }
    const fields = { ...who, details, ...(severity === undefined ? undefined : { severity }) }
    securityEvents.emit(type, fields, request as FastifyRequest | undefined)
  }
  const { mfa, core, effective, deviations, close } = assemble(settings, {
    emit,
    onNotifyFailed: (error) => app.log.error({ err: error }, 'a user was not told of a change'),
  })
  if (settings.sql !== undefined) await migrateAccounts(settings.sql)
  const stepUp = new StepUp({
    core,
    devices: mfa.devices,
    securityEvents,
    principalOf,
    roles: settings.roles,
  })
  tellAtBoot(app, options, deviations)

  app.decorate('mfa', mfa)
  app.addHook('onClose', close)
  app.addHook('onRoute', readRoute)
  app.addHook('onRequest', stepUp.hook)
  if (settings.routes) {
    const { adminRoles, manageMaxAgeSeconds, signIn } = settings
    const accountName = settings.accountName ?? ((request) => principalOf(request)?.id ?? '')
    const { deviceMaxAgeSeconds } = effective
    const hasPasskeys = settings.passkeys !== undefined
    await app.register(
      async (child) =>
        addRoutes(child, {
          mfa,
          stepUp,
          principalOf,
          accountName,
          adminRoles,
          manageMaxAgeSeconds,
          deviceMaxAgeSeconds,
          hasPasskeys,
          signIn,
        }),
      { prefix: settings.prefix },
    )
  }
}

function tellAtBoot(
  app: FastifyInstance,
  options: MfaOptions,
  deviations: readonly string[],
): void {
  const { profile, store, sql, accounts } = options
  if (deviations.length > 0) {
    app.log[profile === undefined ? 'info' : 'warn']({ deviations }, 'mfa deviates from a standard')
  }
  if (store === undefined && sql === undefined && accounts === undefined) {
    app.log.warn('mfa keeps its accounts in this process: they end with it')
  }
}

/** The plugin. Register it with `await`, after the login and before the routes it is to watch. */
export const mfa: FastifyPluginAsync<MfaOptions> = fp(mfaPlugin, { name: NAME, fastify: '5.x' })
export default mfa
