/** Registers the hook and the routes. */
import type { FastifyInstance } from 'fastify'
import type { AccountMessages } from '../accounts/account.ts'
import type { CookieSettings } from '../options.ts'
import type { ProviderSettings } from '../oidc/provider.ts'
import type { CredentialCheck } from '../passwords/password-check.ts'
import type { SecondFactor } from '../second-factor/second-factor.ts'
import type { Service } from '../service/create-service.ts'
import { createAuthenticate } from './authenticate.ts'
import { createCredentialReader } from './bearer-token.ts'
import { registerAccountRoutes } from './routes/account-routes.ts'
import { registerIdentityRoutes } from './routes/identity-routes.ts'
import { registerJwksRoute } from './routes/jwks-route.ts'
import { registerLoginRoutes } from './routes/login-routes.ts'
import { registerOidcRoutes } from './routes/oidc-routes.ts'
import { registerOwnSessionsRoutes } from './routes/own-sessions-routes.ts'
import { registerSecondFactorRoutes } from './routes/second-factor-routes.ts'
import { compileSessionRules } from './route-rule.ts'
import type { TokenTransport } from './send-tokens.ts'

/** What the hook and the routes need: options of the plugin with the defaults filled in. */
export interface HttpSettings {
  readonly apiKeyPrefix: string
  readonly cookies: CookieSettings | undefined
  readonly credentials: CredentialCheck | undefined
  readonly oidc: Readonly<Record<string, Pick<ProviderSettings, 'responseMode'>>>
  /** `undefined`: there are no routes. */
  readonly prefix: string | undefined
  readonly requireByDefault: boolean
  readonly foreignTokens: 'refused' | 'ignored'
  readonly secondFactor: SecondFactor | undefined
  readonly account: { readonly messages: AccountMessages } | undefined
  /** `undefined`: identities are not linked. */
  readonly linking: object | undefined
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
    // Loaded only here, because many services use no cookies.
    const { default: fastifyCookie } = await import('@fastify/cookie')
    await app.register(fastifyCookie)
  }
  const ruleOf = compileSessionRules(app, requireByDefault)
  const readCredential = createCredentialReader(cookies, transport.sessionCookie)
  const sessionCookie = cookies === undefined ? undefined : transport.sessionCookie
  const ignoresForeignTokens = settings.foreignTokens === 'ignored'
  const rules = { ruleOf, requireByDefault }
  const checks = { authenticator, apiKeyPrefix, ...rules, readCredential, sessionCookie }
  app.addHook('onRequest', createAuthenticate({ ...checks, ignoresForeignTokens }))
  if (prefix === undefined) return
  const routes = { prefix, service, transport, secondFactor: settings.secondFactor }
  registerLoginRoutes(app, { ...routes, credentials, readCredential })
  if (settings.secondFactor !== undefined) registerSecondFactorRoutes(app, routes)
  registerOwnSessionsRoutes(app, prefix, service)
  if (service.account !== undefined) {
    const hasMagicLinks = settings.account?.messages.sendMagicLink !== undefined
    registerAccountRoutes(app, { ...routes, account: service.account, hasMagicLinks })
  }
  registerJwksRoute(app, service.sessions)
  if (!hasProviders) return
  const usesForms = Object.values(oidc).some(({ responseMode }) => responseMode === 'form_post')
  await registerOidcRoutes(app, { ...routes, cookies, usesForms })
  const hasLinks = settings.linking !== undefined
  registerIdentityRoutes(app, { ...routes, readCredential, hasLinks })
}
