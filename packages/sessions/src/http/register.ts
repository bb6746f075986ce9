/** Registers the hook and the routes. */
import fastifyCookie from '@fastify/cookie'
import type { FastifyInstance } from 'fastify'
import type { CredentialCheck } from '../passwords/password-check.ts'
import type { Service } from '../service/create-service.ts'
import { createAuthenticate } from './authenticate.ts'
import { createCredentialReader } from './bearer-token.ts'
import { registerJwksRoute } from './jwks-route.ts'
import { registerLoginRoutes } from './login-routes.ts'
import { registerOidcRoutes } from './oidc-routes.ts'
import { registerOwnSessionsRoutes } from './own-sessions-routes.ts'
import { compileSessionRules } from './route-rule.ts'
import type { TokenTransport } from './send-tokens.ts'
import type { CookieSettings } from './session-cookie.ts'

/** What the hook and the routes need: options of the plugin with the defaults filled in. */
export interface HttpSettings {
  readonly apiKeyPrefix: string
  readonly cookies: CookieSettings | undefined
  readonly credentials: CredentialCheck | undefined
  /** The providers; only their presence matters here. */
  readonly oidc: object
  /** `undefined`: there are no routes. */
  readonly prefix: string | undefined
  readonly requireByDefault: boolean
}

/** Adds the authentication hook to the app and, with a prefix, the routes. */
export async function registerHooksAndRoutes(
  app: FastifyInstance,
  settings: HttpSettings,
  service: Service,
  transport: TokenTransport,
): Promise<void> {
  const { apiKeyPrefix, cookies, credentials, oidc, prefix, requireByDefault } = settings
  const { authenticator } = service
  const hasProviders = Object.keys(oidc).length > 0
  if ((cookies !== undefined || hasProviders) && !app.hasPlugin('@fastify/cookie')) {
    await app.register(fastifyCookie)
  }
  const ruleOf = compileSessionRules(app, requireByDefault)
  const readCredential = createCredentialReader(cookies, transport.sessionCookie)
  const sessionCookie = cookies === undefined ? undefined : transport.sessionCookie
  const hook = { authenticator, apiKeyPrefix, ruleOf, readCredential, sessionCookie }
  app.addHook('onRequest', createAuthenticate(hook))
  if (prefix === undefined) return
  registerLoginRoutes(app, { prefix, credentials, service, transport, readCredential })
  registerOwnSessionsRoutes(app, prefix, service)
  registerJwksRoute(app, service.sessions)
  if (hasProviders) registerOidcRoutes(app, prefix, service, transport)
}
