/** The hooks in which requests are decided. */
import type { PrincipalReader } from '@parapet/kit'
import type { FastifyInstance, FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import type { CompiledRule } from '../tiers/rule.ts'
import { kCheck, type Limiter } from './limiter.ts'
import type { RouteRules } from './route-rules.ts'
import type { Watch } from './watch.ts'

/** Parts that exist when requests arrive. */
export interface HookParts {
  limiter: Limiter | undefined
  rules: RouteRules | undefined
  readonly watch: Watch
  readonly principalOf: PrincipalReader
}

/**
 * Adds the hook in which addresses are limited. It belongs to the app, so that it runs before a login that is
 * registered later, and for requests that match no route.
 */
export function addPeerHook(app: FastifyInstance, parts: HookParts): void {
  app.decorateRequest(kCheck, null)
  app.addHook('onRequest', function limitPeer(request, reply, done) {
    parts.watch.arrived(request)
    const rule = parts.rules!.of(request)
    if (rule.tiers.length === 0) done()
    else if (rule.early.length > 0) parts.limiter!.judgeEarly(rule, request, reply, done)
    else if (rule.moment === 'peer') parts.limiter!.judge(rule, request, reply, done)
    else done()
  })
}

/**
 * Adds the hook of a rule that needs the principal or the body: `preParsing` comes after every `onRequest`
 * hook, in which logins run, and `preValidation` before the body is validated. It runs before those of the
 * route itself.
 */
export function addLaterHook(route: RouteOptions, rule: CompiledRule, parts: HookParts): void {
  const judge = (request: FastifyRequest, reply: FastifyReply, next: (error?: Error) => void) => {
    const loading = load(parts.principalOf, request)
    const decide = (): void => parts.limiter!.judge(rule, request, reply, next)
    // A lookup that fails leaves the request anonymous.
    if (loading === undefined) decide()
    else loading.then(decide, decide)
  }
  if (rule.moment === 'body') {
    const hook: NonNullable<RouteOptions['preValidation']> = (request, reply, done) =>
      judge(request, reply, done)
    route.preValidation = [hook, ...[route.preValidation ?? []].flat()] as never
    return
  }
  const hook: NonNullable<RouteOptions['preParsing']> = (request, reply, _payload, done) =>
    judge(request, reply, done)
  route.preParsing = [hook, ...[route.preParsing ?? []].flat()] as never
}

/** A lookup may fail at once, too. */
function load(principalOf: PrincipalReader, request: FastifyRequest): Promise<void> | undefined {
  try {
    return principalOf.load(request)
  } catch {
    return undefined
  }
}
