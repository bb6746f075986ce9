/** The step-up of a request: from rules, proofs and remembered devices to an answer. */
import type { Principal, SecurityEvents } from '@parapet/kit'
import type { FastifyReply, FastifyRequest, RouteOptions } from 'fastify'
import { hasFactor, type Account } from './account.ts'
import type { Core } from './core.ts'
import { readDeviceCookie } from './cookie.ts'
import type { Devices } from './devices.ts'
import {
  PARAPET_MFA_ENROLMENT_REQUIRED,
  PARAPET_MFA_LOGIN_REQUIRED,
  PARAPET_MFA_STEP_UP_REQUIRED,
} from './errors.ts'
import {
  acrOf,
  challengeOf,
  compileRequirement,
  compileRule,
  joinRules,
  satisfies,
  type CompiledRule,
  type RoleRequirement,
} from './step-up.ts'

/** What the hook stands on. */
export interface StepUpParts {
  readonly core: Core
  readonly devices: Devices
  readonly securityEvents: SecurityEvents
  readonly principalOf: (request: FastifyRequest) => Principal | null
  readonly roles: Readonly<Record<string, RoleRequirement>>
}

const NAME = '@parapet/mfa'
const kRule = Symbol(`${NAME}:rule`)

/** The route's config as this plugin sees it. Its type promises nothing: JavaScript may have written it. */
interface RouteConfig {
  /** `null`: the route is open. */
  readonly [kRule]?: CompiledRule | null
  readonly mfa?: unknown
}

/** An `onRoute` hook: compiles the route's rule. */
export function readRoute(route: RouteOptions): void {
  const raw = (route.config as RouteConfig | undefined)?.mfa
  if (raw === undefined) return
  const rule = compileRule(raw, `${String(route.method)} ${route.url}`)
  // A copy: the caller may share one config object among routes.
  route.config = { ...route.config, [kRule]: rule } as RouteOptions['config'] & object
}

const ANY_FACTOR = compileRequirement({}, null)

/** Decides over requests. What it cannot look up, because the store is down, it does not let through. */
export class StepUp {
  readonly #parts: StepUpParts
  readonly #roleRules: ReadonlyMap<string, CompiledRule>

  constructor(parts: StepUpParts) {
    this.#parts = parts
    this.#roleRules = new Map(
      Object.entries(parts.roles).map(([role, { graceSeconds = 0, ...requirement }]) => [
        role,
        compileRequirement(requirement, graceSeconds * 1000),
      ]),
    )
  }

  /** An `onRequest` hook. Most requests ask for nothing, and pay for no promise. */
  readonly hook = (
    request: FastifyRequest,
    reply: FastifyReply,
    done: () => void,
  ): Promise<void> | undefined => {
    const rule = this.#ruleOf(request, reply)
    if (rule !== null) return this.decide(request, reply, rule)
    done()
    return undefined
  }

  #ruleOf(request: FastifyRequest, reply: FastifyReply): CompiledRule | null {
    const config = request.routeOptions.config as RouteConfig | undefined
    const rule = config?.[kRule]
    if (rule === null) return null
    if (rule === undefined && config?.mfa !== undefined) {
      // The plugin came too late for this route, and nobody compiled its rule.
      this.#refuse(request, reply, ANY_FACTOR, 'missed')
    }
    return this.withRoles(request, rule)
  }

  /** A rule together with what the caller's roles ask for, the strictest of all. */
  withRoles(request: FastifyRequest, rule: CompiledRule): CompiledRule
  withRoles(request: FastifyRequest, rule: CompiledRule | undefined): CompiledRule | null
  withRoles(request: FastifyRequest, rule: CompiledRule | undefined): CompiledRule | null {
    if (this.#roleRules.size === 0) return rule ?? null
    const roles = this.#parts.principalOf(request)?.roles ?? []
    const rules = roles.flatMap((role) => this.#roleRules.get(role) ?? [])
    return joinRules(rule === undefined ? rules : [rule, ...rules])
  }

  /** Holds a request to one rule, whatever its route and the caller's roles say. */
  async decide(request: FastifyRequest, reply: FastifyReply, rule: CompiledRule): Promise<void> {
    const { core, principalOf } = this.#parts
    const principal = principalOf(request)
    if (principal === null) {
      reply.header('www-authenticate', 'Bearer')
      throw new PARAPET_MFA_LOGIN_REQUIRED()
    }
    const { id, sessionId } = principal
    const marks = sessionId === undefined ? [] : await core.marks.find(id, sessionId)
    if (marks.some((mark) => satisfies(mark, rule, core.now()))) return
    const account = await core.accounts.read(id)
    let asked = rule
    if (!hasFactor(account) || (rule.phishingResistant && account.passkeys.length === 0)) {
      await this.#requireGrace(request, reply, rule, account, id)
      if (!hasFactor(account)) return
      // Until there is a passkey, what there is must be shown.
      asked = { ...rule, phishingResistant: false }
      if (marks.some((mark) => satisfies(mark, asked, core.now()))) return
    }
    if (!asked.rememberedDevice || !(await this.#isRemembered(request, account, principal))) {
      this.#refuse(request, reply, asked, 'unproved')
    }
  }

  /** Grace is for who never had a factor, or has another: losing all must not open what they closed. */
  async #requireGrace(
    request: FastifyRequest,
    reply: FastifyReply,
    rule: CompiledRule,
    account: Account,
    userId: string,
  ): Promise<void> {
    const { core } = this.#parts
    if (rule.graceMs !== null && rule.graceMs > 0 && (hasFactor(account) || account.epoch === 0)) {
      const due = (account.graceSince ?? (await this.#startGrace(userId))) + rule.graceMs
      if (core.now() < due) {
        reply.header('mfa-enrolment-due', new Date(due).toUTCString())
        return
      }
    }
    this.#tell(request, rule, 'unenrolled')
    throw new PARAPET_MFA_ENROLMENT_REQUIRED()
  }

  #startGrace(userId: string): Promise<number> {
    const { core } = this.#parts
    return core.accounts.update(userId, (account) => {
      const graceSince = account.graceSince ?? core.now()
      return { next: { ...account, graceSince }, result: graceSince }
    })
  }

  async #isRemembered(
    request: FastifyRequest,
    account: Account,
    { id, sessionId }: Principal,
  ): Promise<boolean> {
    const { core, devices } = this.#parts
    const cookie = readDeviceCookie(request.headers.cookie)
    const agent = request.headers['user-agent'] ?? ''
    const device = cookie === null ? null : devices.recognise(account, cookie, agent)
    if (device === null) return false
    if (sessionId === undefined) return true
    const provedAt = core.now()
    const mark = { method: 'device', aal: 1, phishingResistant: false, provedAt } as const
    await core.marks.set(id, sessionId, { ...mark, deviceId: device.id })
    // Revoked meanwhile? Then the mark came too late to be cleared with the device.
    const current = await core.accounts.read(id)
    if (current.devices.some((each) => each.id === device.id)) return true
    await core.marks.clear(id, ({ deviceId }) => deviceId === device.id)
    return false
  }

  #refuse(
    request: FastifyRequest,
    reply: FastifyReply,
    rule: CompiledRule,
    reason: 'unproved' | 'missed',
  ): never {
    this.#tell(request, rule, reason)
    reply.header('www-authenticate', challengeOf(rule))
    throw new PARAPET_MFA_STEP_UP_REQUIRED()
  }

  #tell(
    request: FastifyRequest,
    rule: CompiledRule,
    reason: 'unproved' | 'unenrolled' | 'missed',
  ): void {
    const details = { reason, acr: acrOf(rule) }
    this.#parts.securityEvents.emit('mfa.challenged', { details }, request)
  }
}
