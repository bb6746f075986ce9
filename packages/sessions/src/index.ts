/**
 * Sessions for a Fastify app: short-lived signed access tokens, refresh tokens that rotate, and
 * revocation that every instance knows of without asking.
 *
 * A request is verified in `onRequest`, by a strict gate and by `@fastify/jwt` behind it, and leaves
 * with `request.principal` set, or with 401.
 */
import fastifyCookie from '@fastify/cookie'
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { migrateApiKeys } from './api-keys-postgres.ts'
import { events } from './events.ts'
import { createAuthenticate, readRoute } from './hooks.ts'
import { createOidc } from './oidc.ts'
import { registerOidcRoutes } from './oidc-routes.ts'
import { resolveOptions, type SessionsOptions } from './options.ts'
import { registerRoutes } from './routes.ts'
import { createParts, SessionService } from './service.ts'
import { createTokenTransport, type Sessions } from './transport-routes.ts'
import { createKeyVerifier } from './verify-hooks.ts'

export type { AccessToken, TokenEpochs } from './access-tokens.ts'
export type { ApiKey, ApiKeys, NewApiKey } from './api-keys.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { SessionRule } from './hooks.ts'
export type { Algorithm } from './jwk.ts'
export { createJwsGate, type JwsGate, type JwsHeader } from './jws.ts'
export { generateKey, type KeyInput, type KeySet, type PublishedKey } from './keys.ts'
export { allowInsecureProvider, type OidcProviderOptions, type ProviderProfile } from './oidc.ts'
export { allowRsa2048, type CookieOptions, type SessionsOptions } from './options.ts'
export {
  createPasswordCheck,
  hashPassword,
  needsRehash,
  verifyPassword,
  type AuthenticatedUser,
  type CredentialCheck,
  type Credentials,
  type PasswordAccount,
  type PasswordCheckOptions,
} from './passwords.ts'
export { generateSecret } from './refresh-tokens.ts'
export type { RequestLike, RevocationTarget, SessionOperations, UserTarget } from './service.ts'
export type { FindUser, SessionGrant, SessionView } from './session-book.ts'
export type { HandedTokens, Sessions } from './transport-routes.ts'
export type { Device, LoginProof, SessionUser } from './user.ts'

declare module 'fastify' {
  interface FastifyInstance {
    sessions: Sessions
  }
}

const NAME = '@parapet/sessions'

async function sessionsPlugin(app: FastifyInstance, options: SessionsOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'authentication')
  const securityEvents = useSecurityEvents(app, events)
  usePrincipal(app)
  const { issuer, audience, cookies, oidc, prefix, store, sql } = settings
  if (sql !== undefined) await migrateApiKeys(sql)
  const parts = createParts(
    settings,
    (publicPem, algorithm) => createKeyVerifier(publicPem, algorithm, { issuer, audience }),
    securityEvents,
  )
  const service = new SessionService(parts)
  const transport = createTokenTransport(settings)
  app.decorate(
    'sessions',
    Object.assign(service, { hand: transport.hand, forget: transport.forget }),
  )
  app.decorateRequest('sessions', null)
  app.addHook('onClose', async () => {
    await parts.revocations.stop()
    if (settings.ownsStore) await store.close()
  })
  const singleSignOn = Object.keys(oidc).length > 0
  // Before the hook below: it reads what this one parses.
  if ((cookies !== undefined || singleSignOn) && !app.hasPlugin('@fastify/cookie')) {
    await app.register(fastifyCookie)
  }
  app.addHook('onRoute', readRoute)
  app.addHook('onRequest', createAuthenticate(settings, service, securityEvents))
  if (prefix !== undefined) {
    const routes = { prefix, settings, service, parts, transport }
    registerRoutes(app, routes)
    if (singleSignOn) {
      const login = createOidc({ ...settings, providers: oidc, now: settings.clock.now })
      registerOidcRoutes(app, routes, login)
    }
  }
  await parts.revocations.start()
}

/** The plugin. Register it with `await` before the routes it is to watch. */
export const sessions: FastifyPluginAsync<SessionsOptions> = fp(sessionsPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default sessions
