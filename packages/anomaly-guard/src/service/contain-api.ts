/** `app.anomaly.contain`: what an operator, a playbook or another plugin may do. */
import {
  PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT,
  PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED,
} from '../errors.ts'
import { parseBlock } from '../contain/address.ts'
import type { Containment, ContainmentKind, Target } from '../contain/containment.ts'
import type { ContainmentResult } from '../contain/containments.ts'
import type { Incident } from '../incidents/correlate.ts'
import type { Guard } from './guard.ts'

/** Why, how long and by whom. */
export interface ContainRequest {
  /** For the audit trail, at most 200 characters. */
  readonly reason: string
  /** The operator or the playbook. Without one, the limits of automatic measures apply. */
  readonly by?: string
  /** At least 1000. @default the step of the ladder; a lockdown and read-only 1 h */
  readonly ttlMs?: number
  /** Only says what would be done. @default false */
  readonly dryRun?: boolean
}

/** Measures. Each resolves when the other instances know, or when telling them has failed and is retried. */
export interface Contain {
  /** Refuses an address or a CIDR block with 403. @throws PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT */
  blockAddress(address: string, request: ContainRequest): Promise<ContainmentResult>
  /** Refuses a principal with 403, from any address. */
  blockPrincipal(principalId: string, request: ContainRequest): Promise<ContainmentResult>
  /** Lowers the limits of `address:…` or `principal:…`. @param factor above 0, below 1. @default 0.1 */
  tighten(
    target: string,
    request: ContainRequest & { readonly factor?: number },
  ): Promise<ContainmentResult>
  /** Lets an address or CIDR block pass only with a solved challenge. */
  challenge(address: string, request: ContainRequest): Promise<ContainmentResult>
  /** Requires a second factor of a principal, through the option `stepUp`. */
  stepUp(principalId: string, request: ContainRequest): Promise<ContainmentResult>
  /** Ends the sessions of a principal, through the option `revoke`. */
  revoke(principalId: string, request: ContainRequest): Promise<ContainmentResult>
  /**
   * Refuses everything with 423, but for allowed addresses, open routes and the break-glass token.
   *
   * @throws PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED neither `by` nor two open incidents of different
   *   patterns that concern principals or accounts: anonymous clients make incidents at will.
   */
  lockdown(
    request: ContainRequest & { readonly incidents?: readonly string[] },
  ): Promise<ContainmentResult>
  /**
   * Refuses requests that change something (all but GET, HEAD and OPTIONS) with 423.
   *
   * @throws PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED neither `by` nor an open incident of that kind.
   */
  readOnly(
    request: ContainRequest & { readonly incidents?: readonly string[] },
  ): Promise<ContainmentResult>
  /**
   * Ends a containment and spares its target for `contain.graceMs`.
   *
   * @returns `undefined` where there is none of that id.
   */
  lift(id: string, request: { readonly by: string }): Promise<Containment | undefined>
  /** What is in force on this instance. */
  list(): readonly Containment[]
}

const SERVICE_TTL_MS = 3_600_000

/** Creates the API. */
export function createContainApi(guard: Guard): Contain {
  const { containments, desk, active, clock, settings } = guard
  const order = async (
    kind: ContainmentKind,
    target: Target,
    request: ContainRequest & { readonly factor?: number },
  ): Promise<ContainmentResult> => {
    const { reason, by, ttlMs, dryRun, factor } = checkRequest(request)
    if (by === undefined) requireNarrow(target)
    const result = containments.order({ kind, target, reason, by, ttlMs, dryRun, factor })
    const { containment } = result
    if (containment === undefined || dryRun === true) return result
    await containments.established(containment)
    const current = active.list(clock.now()).find(({ id }) => id === containment.id)
    return { ...result, containment: current ?? containment }
  }
  const service = { type: 'service', value: '' } as const
  return {
    blockAddress: async (address, request) => order('block', addressTarget(address), request),
    blockPrincipal: async (id, request) => order('block', principalTarget(id), request),
    challenge: async (address, request) => order('challenge', addressTarget(address), request),
    tighten: async (target, request) => order('tighten', parseTarget(target), request),
    stepUp: async (id, request) => order('step-up', principalTarget(id), request),
    revoke: async (id, request) => order('revoke', principalTarget(id), request),
    async lockdown({ incidents = [], ...request }) {
      if (request.by === undefined) {
        const open = desk.incidents().filter(({ id }) => incidents.includes(id))
        requireIncidents(open, 2)
      }
      return order('lockdown', service, { ttlMs: SERVICE_TTL_MS, ...request })
    },
    async readOnly({ incidents = [], ...request }) {
      if (request.by === undefined) {
        const open = desk.incidents().filter(({ id }) => incidents.includes(id))
        requireIncidents(open, 1)
      }
      return order('read-only', service, { ttlMs: SERVICE_TTL_MS, ...request })
    },
    lift: (id, { by }) => containments.lift(id, by, settings.contain.graceMs),
    list: () => active.list(clock.now()),
  }
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(what, problem)
}

function checkRequest<T extends ContainRequest & { readonly factor?: number }>(request: T): T {
  const { reason, ttlMs, factor } = request
  if (typeof reason !== 'string' || reason.trim() === '') refuse('"reason"', 'must be a text')
  if (ttlMs !== undefined && !(Number.isSafeInteger(ttlMs) && ttlMs >= 1000 && ttlMs <= YEAR_MS)) {
    refuse('"ttlMs"', `must be an integer from 1000 to ${YEAR_MS} (milliseconds)`)
  }
  if (factor !== undefined && !(factor > 0 && factor < 1)) {
    refuse('"factor"', 'must be a number above 0 and below 1')
  }
  return request
}

/** Anonymous clients make incidents at will: those that concern a principal or an account count. */
function requireIncidents(open: readonly Incident[], patterns: number): void {
  const founded = open.filter(({ subjects }) =>
    subjects.some(({ principalId, account }) => principalId !== undefined || account !== undefined),
  )
  if (new Set(founded.map(({ pattern }) => pattern)).size < patterns) {
    throw new PARAPET_ANOMALY_GUARD_LOCKDOWN_UNFOUNDED()
  }
}

/** Without a person, one measure is for one client: the cap counts measures. */
function requireNarrow({ type, value }: Target): void {
  if (type !== 'address') return
  const { isV4, prefixBits } = parseBlock(value)
  if (prefixBits >= (isV4 ? 32 : 64)) return
  refuse('"address"', 'must be a single IPv4 address or an IPv6 /64 without "by"')
}

const YEAR_MS = 31_536_000_000

function addressTarget(address: string): Target {
  return { type: 'address', value: parseBlock(address).text }
}

function principalTarget(id: string): Target {
  if (typeof id === 'string' && id !== '' && id.length <= 300)
    return { type: 'principal', value: id }
  throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(
    '"principalId"',
    'must be a text of 1 to 300 characters',
  )
}

function parseTarget(text: string): Target {
  const [type] = text.split(':', 1)
  const value = text.slice(text.indexOf(':') + 1)
  if (type === 'address') return addressTarget(value)
  if (type === 'principal') return principalTarget(value)
  throw new PARAPET_ANOMALY_GUARD_INVALID_ARGUMENT(
    '"target"',
    'must begin with "address:" or "principal:"',
  )
}
