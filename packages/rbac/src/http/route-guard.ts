/**
 * Guards every route: the guard decides what roles alone can decide, by default before the body is
 * read; `preHandler` decides rules that load a resource.
 */
import type {
  FastifyInstance,
  FastifyReply,
  FastifyRequest,
  HookHandlerDoneFunction,
  RouteOptions,
} from 'fastify'
import type { Access } from '../decide/access.ts'
import type { Reason } from '../decide/reasons.ts'
import type { RouteRule } from '../decide/route-rule.ts'
import type { CompiledRule } from '../decide/rule-guard.ts'
import type { DecisionHook } from '../options.ts'
import { hide, isHidden, isTolerated, keepHeaders, markTolerated } from './hidden-reply.ts'

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
  /** Runs the option `principal`; absent if there is none. */
  readonly load: ((request: FastifyRequest) => Promise<void> | undefined) | undefined
  /** Returns the decisions of a request whose principal could not be loaded, in the report mode. */
  readonly anonymous: (request: FastifyRequest) => Access
  /** Loads the resource of a rule. @throws PARAPET_RBAC_LOOKUP_TIMEOUT */
  readonly loadResource: (
    load: NonNullable<RouteRule['resource']>,
    request: FastifyRequest,
  ) => unknown
  /** Whether denials are reported only. */
  readonly isReporting: () => boolean
  /** Continues a request that is not refused here. */
  readonly admit: (reply: FastifyReply, done: HookHandlerDoneFunction) => void
  /** Whether to admit a request if only conditions can decide it. */
  readonly admitsConditional: boolean
}

const kAppended = Symbol('@parapet/rbac:appended')

/** Installs the guard. It can be replaced while `testMatrix` runs, at no cost for other requests. */
export class RouteGuard {
  readonly settings: GuardSettings
  readonly #guard: GuardHook
  /** What the `onRequest` hook runs while no matrix runs. */
  readonly #regular: GuardHook
  #onRequest: GuardHook

  constructor(
    app: FastifyInstance,
    hook: DecisionHook,
    settings: Omit<GuardSettings, 'admit' | 'admitsConditional'>,
  ) {
    this.settings = { ...settings, admit: (_reply, done) => done(), admitsConditional: false }
    this.#guard = createGuardHook(this.settings)
    this.#regular = hook === 'onRequest' ? this.#guard : createHeaderHook(settings.ruleOf)
    this.#onRequest = this.#regular
    app.addHook('onRequest', (request, reply, done) => this.#onRequest(request, reply, done))
    if (hook === 'preHandler') {
      this.#guardBeforeHandlers(app)
      return
    }
    if (hook === 'preParsing') {
      app.addHook('preParsing', (request, reply, _payload, done) =>
        this.#guard(request, reply, done),
      )
    }
    app.addHook('preHandler', (request, reply) => guardResource(request, reply, this.settings))
  }

  /** Replaces the hook. @param wrap receives the regular hook. @returns restores the regular hook. */
  replace(wrap: (guard: GuardHook) => GuardHook): () => void {
    this.#onRequest = wrap(this.#regular)
    return () => {
      this.#onRequest = this.#regular
    }
  }

  /** Appends the guard to the route's own hooks, because a hook of the instance runs before them. */
  #guardBeforeHandlers(app: FastifyInstance): void {
    const guard = async (request: FastifyRequest, reply: FastifyReply): Promise<unknown> => {
      await new Promise<void>((resolve, reject) =>
        this.#guard(request, reply, (error) => (error === undefined ? resolve() : reject(error))),
      )
      return guardResource(request, reply, this.settings)
    }
    app.addHook('onRoute', (route) => {
      const own = [route.preHandler ?? []].flat()
      // Fastify copies the hooks of a GET route to its HEAD route.
      if (!own.includes(guard)) route.preHandler = [...own, guard]
      route.config = { ...route.config, [kAppended]: true } as NonNullable<RouteOptions['config']>
    })
    // Routes that were declared before the plugin have no appended guard.
    app.addHook('preHandler', async (request, reply) => {
      const { config } = request.routeOptions
      return kAppended in config ? undefined : guard(request, reply)
    })
  }
}

/** Creates the hook that decides everything that roles alone decide. */
export function createGuardHook(settings: GuardSettings): GuardHook {
  const decideNow = createDecision(settings)
  const { load, ruleOf, isReporting } = settings
  if (load === undefined) return decideNow
  return (request, reply, done) => {
    if (request.is404) return done()
    const isOptional = isReporting() || ruleOf(request)?.rule.kind === 'public'
    const pending = isOptional ? loadIfPossible(load, request) : load(request)
    if (pending === undefined) return decideNow(request, reply, done)
    void runAfter(pending, (finish) => decideNow(request, reply, finish), done)
  }
}

function createDecision(settings: GuardSettings): GuardHook {
  const { ruleOf, admit, admitsConditional, isReporting } = settings
  return (request, reply, done) => {
    if (request.is404) return done()
    const compiled = ruleOf(request)
    if (compiled?.rule.kind === 'public') return admit(reply, done)
    const access = accessFor(request, settings)
    const { engine, rights } = access.current()
    if (compiled === undefined || rights === null) {
      const reason =
        access.principal === null ? 'anonymous' : compiled === undefined ? 'missed' : 'stale'
      access.report(compiled?.rule.permissions ?? [], { allowed: false, reason })
      if (!isReporting()) return done(refuse(reply, access, reason))
      markTolerated(request)
      return admit(reply, done)
    }
    const { rule } = compiled
    const right = compiled.guardOf(engine).rightOf(rights)
    if (right === 'allow') {
      if (rule.resource === undefined) access.reportGranted(rule)
      else if (rule.hides) keepHeaders(request, reply)
      return admit(reply, done)
    }
    // Only conditions need the resource, so a request that roles refuse does not load it.
    if (right === 'conditional' && (admitsConditional || rule.resource !== undefined)) {
      if (rule.hides) keepHeaders(request, reply)
      return admit(reply, done)
    }
    settle(decide(request, reply, access, rule, settings), () => admit(reply, done), done)
  }
}

/** In the report mode, a request whose principal cannot be loaded is anonymous. */
function accessFor(request: FastifyRequest, settings: GuardSettings): Access {
  if (!settings.isReporting()) return settings.accessOf(request)
  try {
    return settings.accessOf(request)
  } catch {
    return settings.anonymous(request)
  }
}

/** A public route admits a request even if its principal cannot be loaded. */
function loadIfPossible(
  load: NonNullable<GuardSettings['load']>,
  request: FastifyRequest,
): Promise<void> | undefined {
  try {
    return load(request)?.catch(() => {})
  } catch {
    return undefined
  }
}

/** Remembers the headers of a request before the hooks of its route run. */
function createHeaderHook(ruleOf: GuardSettings['ruleOf']): GuardHook {
  return (request, reply, done) => {
    if (!request.is404 && ruleOf(request)?.rule.hides === true) keepHeaders(request, reply)
    done()
  }
}

/**
 * Loads the resource of the rule and decides with it. A rule without one is decided again only if the
 * policy or a grant has changed since: a slow upload must not keep a right that was revoked meanwhile.
 */
async function guardResource(
  request: FastifyRequest,
  reply: FastifyReply,
  settings: GuardSettings,
): Promise<unknown> {
  const rule = settings.ruleOf(request)?.rule
  if (rule === undefined || rule.kind === 'public' || request.is404 || isHidden(request)) {
    return undefined
  }
  const access = accessFor(request, settings)
  if (rule.resource === undefined) {
    if (access.isUnchanged() || isTolerated(request)) return undefined
    return (await decide(request, reply, access, rule, settings)) ? undefined : reply
  }
  const isReporting = settings.isReporting()
  try {
    access.resource = await settings.loadResource(rule.resource, request)
  } catch (error) {
    if (!isReporting) {
      if (!rule.hides || !isNotFound(error)) throw error
      hide(request, reply)
      return reply
    }
    access.report(rule.permissions, { allowed: false, reason: 'condition_failed' })
    return undefined
  }
  if (isTolerated(request)) return undefined
  if (rule.hides && (access.resource === undefined || access.resource === null) && !isReporting) {
    hide(request, reply)
    return reply
  }
  return (await decide(request, reply, access, rule, settings)) ? undefined : reply
}

/** Loaders throw it as often as they return `null`: it must not differ from a refusal. */
function isNotFound(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { statusCode, status } = error as {
    readonly statusCode?: unknown
    readonly status?: unknown
  }
  return (statusCode ?? status) === 404
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
  { isReporting }: GuardSettings,
): Promise<boolean> {
  const decision = await access.decide(rule.node, rule.permissions, access.resource)
  access.report(rule.permissions, decision)
  if (decision.allowed) return true
  if (isReporting()) {
    markTolerated(request)
    return true
  }
  if (!rule.hides || decision.reason === 'anonymous') {
    throw refuse(reply, access, decision.reason)
  }
  hide(request, reply)
  return false
}

/** Continues the request, unless the reply has been sent. */
function settle(
  decision: Promise<boolean>,
  admit: () => void,
  done: HookHandlerDoneFunction,
): void {
  void (async () => {
    try {
      if (!(await decision)) return
    } catch (error) {
      done(error as Error)
      return
    }
    admit()
  })()
}

/** Runs the guard after `pending`. What either throws refuses the request. */
async function runAfter(
  pending: Promise<void>,
  guard: (done: HookHandlerDoneFunction) => void,
  done: HookHandlerDoneFunction,
): Promise<void> {
  let isDone = false
  const finish = (error?: Error): void => {
    isDone = true
    done(error)
  }
  try {
    await pending
    guard(finish)
  } catch (error) {
    if (!isDone) done(error as Error)
  }
}
