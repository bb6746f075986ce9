/**
 * Closes single routes of a Fastify app for maintenance, and lets chosen roles pass.
 *
 * Rules are compiled as routes are declared; the request path only looks one up and decides before
 * a byte of the body is read.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type {
  FastifyInstance,
  FastifyPluginAsync,
  FastifyReply,
  FastifyRequest,
  RouteOptions,
} from 'fastify'
import fp from 'fastify-plugin'
import { PARAPET_TEMPLATE_CLOSED } from './errors.ts'
import { events } from './events.ts'
import { resolveOptions, type TemplateOptions } from './options.ts'
import { compileRule, decideRule, type CompiledRule, type TemplateRule } from './template.ts'

export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export type { TemplateOptions } from './options.ts'
export type { TemplateRule } from './template.ts'

/** What is at `app.template`. */
export interface Template {
  /** Method and pattern of every closed route declared so far, as `GET /reports`. */
  readonly closedRoutes: readonly string[]
}

declare module 'fastify' {
  interface FastifyInstance {
    template: Template
  }
  interface FastifyContextConfig {
    /** Whether the route is closed for maintenance. @default 'open' */
    template?: TemplateRule
  }
}

const NAME = '@parapet/template'
const kRule = Symbol(`${NAME}:rule`)

/** The route's config as this plugin sees it. Its type promises nothing: JavaScript may have written it. */
interface RouteConfig {
  readonly [kRule]?: CompiledRule
  readonly template?: unknown
}

async function templatePlugin(app: FastifyInstance, options: TemplateOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'authorization')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const retryAfter = String(settings.retryAfterSeconds)
  const closedRoutes: string[] = []

  app.decorate('template', {
    get closedRoutes() {
      return [...closedRoutes]
    },
  })
  app.addHook('onRoute', templateReadRoute)
  app.addHook('onRequest', templateDecide)

  function templateReadRoute(route: RouteOptions): void {
    const raw = (route.config as RouteConfig | undefined)?.template
    if (raw === undefined) return
    const name = `${String(route.method)} ${route.url}`
    const rule = compileRule(raw, name, settings.allowedRoles)
    if (rule.passingRoles !== null) closedRoutes.push(name)
    // A copy: the caller may share one config object among routes.
    route.config = { ...route.config, [kRule]: rule } as RouteOptions['config'] & object
  }

  async function templateDecide(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const config: RouteConfig = request.routeOptions.config
    const rule = config[kRule]
    if (rule === undefined && config.template === undefined) return
    const verdict = decideRule(rule, principalOf(request))
    if (!verdict.passes) {
      securityEvents.emit('template.refused', { details: { reason: verdict.reason } }, request)
      reply.header('retry-after', retryAfter)
      throw new PARAPET_TEMPLATE_CLOSED()
    }
    if (verdict.role !== null) {
      securityEvents.emit('template.passed', { details: { role: verdict.role } }, request)
    }
  }
}

/** The plugin. Register it with `await` before the routes it is to watch. */
export const template: FastifyPluginAsync<TemplateOptions> = fp(templatePlugin, {
  name: NAME,
  fastify: '5.x',
})
export default template
