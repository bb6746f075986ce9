/**
 * Sessions for a Fastify app: short-lived signed access tokens, refresh tokens that rotate, and
 * revocation that every instance knows without a store call.
 *
 * Each request is authenticated in `onRequest`: the token is parsed strictly, verified by `fast-jwt`
 * and checked against the revocations. The result is `request.principal`, or a 401 response.
 */
import { declarePhase, usePrincipal, useSecurityEvents, useStoreEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { events } from './events.ts'
import { warnOfLatePlugins } from './http/late-plugins.ts'
import { registerHooksAndRoutes } from './http/register.ts'
import { createTokenTransport, type Sessions } from './http/send-tokens.ts'
import { allowRsa2048 } from './keys/strong-key.ts'
import { resolveOptions, type SessionsOptions } from './options.ts'
import { hashQueue } from './passwords/hash-queue.ts'
import { createAccountOperations } from './service/account-operations.ts'
import { createService } from './service/create-service.ts'
import type { AccessToken } from './tokens/access-token.ts'

export type { Resealed as ResealedAccounts } from '@parapet/kit'
export type {
  Account,
  AccountDirectory,
  AccountMessages,
  AccountNotice,
  AccountPages,
  LinkMessage,
  NoticeDetails,
  NoticeKind,
} from './accounts/account.ts'
export type { ApiKeys, NewApiKey } from './api-keys/api-keys.ts'
export type { ApiKey } from './api-keys/repository.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { SessionRule } from './http/route-rule.ts'
export type { HandedTokens, Sessions } from './http/send-tokens.ts'
export { generateKey } from './keys/generate-key.ts'
export type { PublishedKey } from './keys/jwk.ts'
export type { KeyInput, KeySet } from './keys/read-key.ts'
export { allowRsa2048, type Algorithm } from './keys/strong-key.ts'
export type {
  Identity,
  IdentityLinks,
  LinkedIdentity,
  AddedLink,
  RemovedLink,
} from './identities/identity-links.ts'
export type { ClientKeyInput } from './oidc/client-key.ts'
export {
  acceptPromptAsLogin,
  allowInsecureProvider,
  type OidcProviderOptions,
  type ProviderProfile,
  type StepUpOptions,
} from './oidc/provider.ts'
export type {
  AccountOptions,
  CookieOptions,
  ImpersonationOptions,
  LinkingOptions,
  SessionsOptions,
} from './options.ts'
export {
  hashPassword,
  needsRehash,
  verifyPassword,
  type HashCost,
} from './passwords/hash-password.ts'
export type { HashingState, HashLimits } from './passwords/hash-queue.ts'
export {
  createPasswordCheck,
  type AuthenticatedUser,
  type CredentialCheck,
  type Credentials,
  type PasswordAccount,
  type PasswordCheckOptions,
} from './passwords/password-check.ts'
export { createRangeFetch, fetchBreachedRange } from './password-policy/breached-range.ts'
export {
  createPasswordPolicy,
  type BreachedRange,
  type PasswordContext,
  type PasswordFault,
  type PasswordPolicy,
  type PasswordPolicyOptions,
  type PasswordVerdict,
  type StrengthEstimate,
} from './password-policy/password-policy.ts'
export { requireAccepted } from './password-policy/require-accepted.ts'
export { createZxcvbnStrength } from './password-policy/zxcvbn-strength.ts'
export type { TokenEpochs } from './revocation/epoch.ts'
export { generateSecret } from './secrets/derive-key.ts'
export type { EndedAccess, EndedListener } from './revocation/ended-access.ts'
export type {
  SecondFactor,
  SecondFactorContext,
  SecondFactorProof,
} from './second-factor/second-factor.ts'
export type { AccountOperations } from './service/account-operations.ts'
export type { FactorChange } from './service/ways-back.ts'
export type { IdentityOperations, IdentityView } from './service/linked-identities.ts'
export type { MayImpersonate, PlaceOf } from './users/ports.ts'
export type {
  AccountStatus,
  Impersonation,
  LockAction,
  OperatorAction,
  OperatorHand,
  ResetAction,
} from './service/operator-operations.ts'
export type { RevocationTarget, SessionOperations, UserTarget } from './service/operations.ts'
export type { FindUser } from './session/context.ts'
export type { SessionGrant } from './session/grant.ts'
export type { SessionView } from './session/list-sessions.ts'
export type { AccessToken } from './tokens/access-token.ts'
export { createJwsGate, type JwsGate } from './tokens/jws-gate.ts'
export type { JwsHeader } from './tokens/parse-jws.ts'
export type { RequestLike } from './users/request-like.ts'
export type { ShownFactor } from './users/shown-factor.ts'
export type { Device, LoginProof, SessionUser } from './users/user.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: Sessions
  }
  interface FastifyRequest {
    /** The verified access token; `null` for an anonymous request or an API key. */
    sessions: AccessToken | null
  }
}

const NAME = '@parapet/sessions'

async function sessionsPlugin(app: FastifyInstance, options: SessionsOptions): Promise<void> {
  const settings = resolveOptions(options)
  hashQueue.configure(settings.hashing)
  declarePhase(app, NAME, 'authentication')
  const securityEvents = useSecurityEvents(app, events)
  usePrincipal(app)
  warnOfLatePlugins(app)
  useStoreEvents(app, settings.store, { clock: settings.clock })
  const acceptRsa2048 = settings[allowRsa2048]
  const service = await createService({ ...settings, acceptRsa2048, securityEvents, log: app.log })
  const transport = createTokenTransport(settings)
  const { hand, forget } = transport
  const account = createAccountOperations(service.account)
  const { identities } = service
  const added = {
    hand,
    forget,
    account,
    listIdentities: identities.listIdentities.bind(identities),
    linkIdentity: identities.linkIdentity.bind(identities),
    unlinkIdentity: identities.unlinkIdentity.bind(identities),
    ...service.operator,
  }
  app.decorate('sessions', Object.assign(service.sessions, added))
  app.decorateRequest('sessions', null)
  app.addHook('onClose', async () => {
    await service.stop()
    if (settings.ownsStore) await settings.store.close()
  })
  await registerHooksAndRoutes(app, settings, service, transport)
  await service.start()
}

/** The plugin. Register it with `await`, before the routes that it protects. */
export const sessions: FastifyPluginAsync<SessionsOptions> = fp(sessionsPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default sessions
