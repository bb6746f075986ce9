/**
 * Guards every route: `onRequest` decides what roles alone can decide, before the body is read;
 * `preHandler` decides rules that load a resource.
 */
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
} from 'fastify'
import type { Access } from '../decide/access.ts'
import { GRANTED, type Reason } from '../decide/reasons.ts'
import type { RouteRule } from '../decide/route-rule.ts'
import type { CompiledRule } from '../decide/rule-guard.ts'

/** The hook that guards requests. */
export type GuardHook = (
  request: FastifyRequest,
  reply: FastifyReply,
  done: HookHandlerDoneFunction,
) => void

/** See {@link createGuardHook}. */
export interface GuardSettings {
  readonly ruleOf: (request: FastifyRequest) => CompiledRule | undefined
  readonly accessOf: (request: FastifyRequest) => Access
  /** Continues a request that is not refused here. */
  readonly admit: (reply: FastifyReply, done: HookHandlerDoneFunction) => void
  /** Whether to admit a request if only conditions can decide it. */
  readonly admitsConditional: boolean
}

const kHidden = Symbol('@parapet/rbac:hidden')

/** Installs the guard. It can be replaced while `testMatrix` runs, at no cost for other requests. */
export class RouteGuard {
  readonly settings: GuardSettings
  readonly #guard: GuardHook
  #onRequest: GuardHook

  constructor(
    app: FastifyInstance,
    { ruleOf, accessOf }: Pick<GuardSettings, 'ruleOf' | 'accessOf'>,
  ) {
    this.settings = { ruleOf, accessOf, admit: (_reply, done) => done(), admitsConditional: false }
    this.#guard = createGuardHook(this.settings)
    this.#onRequest = this.#guard
    app.decorateRequest(kHidden, false)
    app.addHook('onRequest', (request, reply, done) => this.#onRequest(request, reply, done))
    app.addHook('preHandler', (request, reply) => guardResource(request, reply, this.settings))
  }

  /** Replaces the hook. @param wrap receives the regular hook. @returns restores the regular hook. */
  replace(wrap: (guard: GuardHook) => GuardHook): () => void {
    this.#onRequest = wrap(this.#guard)
    return () => {
      this.#onRequest = this.#guard
    }
  }
}

/** Creates the hook that decides everything that roles alone decide. */
export function createGuardHook(settings: GuardSettings): GuardHook {
  const { ruleOf, accessOf, admit, admitsConditional } = settings
  return (request, reply, done) => {
    if (request.is404) return done()
    const compiled = ruleOf(request)
    if (compiled?.rule.kind === 'public') return admit(reply, done)
    const access = accessOf(request)
    if (compiled === undefined || access.rights === null) {
      const reason =
        access.principal === null ? 'anonymous' : compiled === undefined ? 'missed' : 'stale'
      access.report(compiled?.rule.permissions ?? [], { allowed: false, reason })
      return done(refuse(reply, access, reason))
    }
    const { rule } = compiled
    const right = compiled.guardOf(access.engine).rightOf(access.rights)
    if (right === 'allow') {
      if (rule.resource === undefined) access.report(rule.permissions, GRANTED)
      return admit(reply, done)
    }
    // Only conditions need the resource, so a request that roles refuse does not load it.
    if (right === 'conditional' && (admitsConditional || rule.resource !== undefined)) {
      return admit(reply, done)
    }
    settle(decide(request, reply, access, rule), done)
  }
}

/** Loads the resource of the rule and decides with it. */
async function guardResource(
  request: FastifyRequest,
  reply: FastifyReply,
  { ruleOf, accessOf }: GuardSettings,
): Promise<unknown> {
  const rule = ruleOf(request)?.rule
  if (rule?.resource === undefined || request.is404 || isHidden(request)) return undefined
  const access = accessOf(request)
  const load = rule.resource as (request: FastifyRequest) => unknown
  access.resource = await load(request)
  if (rule.hides && (access.resource === undefined || access.resource === null)) {
    hide(request, reply)
    return reply
  }
  return (await decide(request, reply, access, rule)) ? undefined : reply
}

/** Returns the error, and sets its headers for error handlers that ignore `error.headers`. */
function refuse(reply: FastifyReply, access: Access, reason: Reason): Error {
  const error = access.refusal(reason)
  if (error.headers !== undefined) reply.headers(error.headers)
  return error
}

/** @returns `false` if the reply has been sent. */
async function decide(
  request: FastifyRequest,
  reply: FastifyReply,
  access: Access,
  rule: RouteRule,
): Promise<boolean> {
  const decision = await access.decide(rule.node, rule.permissions, access.resource)
  access.report(rule.permissions, decision)
  if (decision.allowed) return true
  if (!rule.hides || decision.reason === 'anonymous') {
    throw refuse(reply, access, decision.reason)
  }
  hide(request, reply)
  return false
}

/** Calls `done`, unless the reply has been sent. */
function settle(decision: Promise<boolean>, done: HookHandlerDoneFunction): void {
  void (async () => {
    try {
      if (!(await decision)) return
    } catch (error) {
      done(error as Error)
      return
    }
    done()
  })()
}

/** Sends exactly the reply of a path that has no route. */
function hide(request: FastifyRequest, reply: FastifyReply): void {
  ;(request as { [kHidden]?: boolean })[kHidden] = true
  reply.callNotFound()
}

function isHidden(request: FastifyRequest): boolean {
  return (request as { [kHidden]?: boolean })[kHidden] === true
}
