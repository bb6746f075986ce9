/** The routes to reset passwords, to verify and change addresses, and to log in by links. */
import type { FastifyInstance, FastifyReply } from 'fastify'
import type { AccountParts } from '../../service/account-parts.ts'
import type { Service } from '../../service/create-service.ts'
import type { RequestedMail } from '../../accounts/mailer.ts'
import { accountSchemas } from './account-schemas.ts'
import type { TokenTransport } from '../send-tokens.ts'
import { sendLogin, stepOf } from './login-routes.ts'
import { requireOwnToken } from './own-sessions-routes.ts'
import { ownRoute, publicRoute } from './route-config.ts'

/** What the routes need. */
export interface AccountRouteSettings {
  readonly prefix: string
  readonly service: Service
  readonly account: AccountParts
  readonly hasMagicLinks: boolean
  readonly transport: TokenTransport
}

interface Bodies {
  readonly email: { readonly email: string }
  readonly token: { readonly token: string }
  readonly reset: {
    readonly token: string
    readonly password: string
    readonly keepApiKeys?: boolean
  }
  readonly verify: { readonly token: string; readonly password?: string }
  readonly password: {
    readonly current?: string
    readonly password: string
    readonly keepApiKeys?: boolean
  }
  readonly change: { readonly current?: string; readonly email: string }
}

/** Registers the routes under the prefix. */
export function registerAccountRoutes(app: FastifyInstance, settings: AccountRouteSettings): void {
  registerLinkRoutes(app, settings)
  registerOwnRoutes(app, settings)
  if (settings.hasMagicLinks) registerMagicLinks(app, settings)
}

function registerLinkRoutes(app: FastifyInstance, settings: AccountRouteSettings): void {
  const { prefix, transport } = settings
  const { accounts } = settings.account
  const open = publicRoute('the token of the link is checked')

  addRequest(app, settings, '/password/forgot', 'reset', accountSchemas.forgot)
  addRequest(app, settings, '/email/verification', 'verify', accountSchemas.requestVerification)

  const reset = { schema: accountSchemas.reset, config: open }
  app.post<{ Body: Bodies['reset'] }>(`${prefix}/password/reset`, reset, async (request, reply) => {
    transport.requireSameOrigin(request)
    const { token, password, keepApiKeys } = request.body
    await accounts.resetPassword(token, { password, keepApiKeys }, request)
    return done(reply)
  })

  const verify = {
    schema: accountSchemas.verify,
    config: { ...open, sessions: 'optional' as const },
  }
  app.post<{ Body: Bodies['verify'] }>(`${prefix}/email/verify`, verify, async (request, reply) => {
    transport.requireSameOrigin(request)
    const { token, password } = request.body
    // An operator who acts as the user does not speak for the mailbox.
    const { sessions: session } = request
    const sessionUserId = session === null || session.actorId !== undefined ? null : session.user.id
    await accounts.verifyEmail(token, { password, sessionUserId }, request)
    return done(reply)
  })

  const undo = { schema: accountSchemas.undo, config: open }
  app.post<{ Body: Bodies['token'] }>(`${prefix}/email/undo`, undo, async (request, reply) => {
    transport.requireSameOrigin(request)
    await settings.account.waysBack.use(request.body.token, request)
    return done(reply)
  })
}

function registerOwnRoutes(app: FastifyInstance, { prefix, account }: AccountRouteSettings): void {
  const config = ownRoute('own account only')

  const password = { schema: accountSchemas.changePassword, config }
  app.post<{ Body: Bodies['password'] }>(`${prefix}/password`, password, async (request, reply) => {
    const { current, password: next, keepApiKeys } = request.body
    const token = requireOwnToken(request)
    await account.own.changePassword(token, current, { password: next, keepApiKeys }, request)
    return done(reply)
  })

  const email = { schema: accountSchemas.changeEmail, config }
  app.post<{ Body: Bodies['change'] }>(`${prefix}/email`, email, async (request, reply) => {
    const { current, email: next } = request.body
    await account.own.requestEmailChange(requireOwnToken(request), current, next, request)
    return accept(reply)
  })
}

function registerMagicLinks(app: FastifyInstance, settings: AccountRouteSettings): void {
  const { prefix, service, transport } = settings
  addRequest(app, settings, '/login/magic-link', 'magic', accountSchemas.requestMagicLink)

  const config = publicRoute('the token of the link is checked')
  const finish = { schema: accountSchemas.finishMagicLink, config }
  app.post<{ Body: Bodies['token'] }>(
    `${prefix}/login/magic-link/finish`,
    finish,
    async (request, reply) => {
      transport.requireSameOrigin(request)
      const step = stepOf(request, reply)
      const result = await settings.account.accounts.finishMagicLink(request.body.token, step)
      return sendLogin({ service, transport }, request, reply, result)
    },
  )
}

/** Adds a route that answers before the address is looked up. */
function addRequest(
  app: FastifyInstance,
  { prefix, transport, account }: AccountRouteSettings,
  path: string,
  kind: RequestedMail,
  schema: object,
): void {
  const options = { schema, config: publicRoute('the answer is the same for every address') }
  app.post<{ Body: Bodies['email'] }>(`${prefix}${path}`, options, async (request, reply) => {
    transport.requireSameOrigin(request)
    await account.accounts.request(kind, request.body.email, request)
    return accept(reply)
  })
}

function accept(reply: FastifyReply): { readonly accepted: true } {
  void reply.code(202)
  return { accepted: true }
}

function done(reply: FastifyReply): FastifyReply {
  return reply.code(204).send(null)
}
