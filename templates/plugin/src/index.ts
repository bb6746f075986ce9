/**
 * Closes single routes of a Fastify app for maintenance, and lets chosen roles pass.
 *
 * Rules are compiled as routes are declared; a request only looks up its rule and is refused before
 * its body is read.
 */
import { declarePhase } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { addGuard } from './http/guard.ts'
import { resolveOptions, type TemplateOptions } from './options.ts'
import type { TemplateRule } from './rule.ts'

export * from './errors.ts'
// A type export keeps the typed events in the published declarations; a bare import would be dropped.
export type * from './events.ts'
export type { TemplateOptions } from './options.ts'
export type { TemplateRule } from './rule.ts'

/** The decorator `app.template`. */
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

async function templatePlugin(app: FastifyInstance, options: TemplateOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'authorization')
  const closedRoutes = addGuard(app, NAME, settings)
  app.decorate('template', {
    get closedRoutes() {
      return [...closedRoutes]
    },
  })
}

/** The plugin. Register it with `await`, before the routes that it protects. */
export const template: FastifyPluginAsync<TemplateOptions> = fp(templatePlugin, {
  name: NAME,
  fastify: '5.x',
})
export default template
