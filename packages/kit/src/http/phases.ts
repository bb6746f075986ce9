/** The order in which plugins handle a request, as data, and the boot check that enforces it. */
import type { FastifyInstance } from 'fastify'
import { PARAPET_KIT_INVALID_ARGUMENT, PARAPET_KIT_WRONG_ORDER } from '../errors.ts'

/**
 * The phases of a request, first to last. A plugin belongs to the phase of its first hook. Fastify
 * runs hooks of one kind in the order of registration, so plugins are registered in this order.
 */
export const phases = Object.freeze([
  /** audit-log opens the record of the request. */
  'record',
  /** security-headers: 4xx and 5xx of all later phases carry the headers, too. */
  'headers',
  /** anomaly-guard: a contained peer is refused. */
  'containment',
  /** rate-limits, by peer. */
  'peer-limits',
  /** sessions, or any other login, sets `request.principal`. */
  'authentication',
  /** Limits by principal. */
  'principal-limits',
  /** rbac decides before a body byte is parsed. */
  'authorization',
  /** mfa requires a stronger or fresher proof. */
  'step-up',
  /** input-guard, before the route's own schema. */
  'input',
  /** field-encryption masks what the principal may not see. */
  'masking',
  /** incident-response and others that only react. */
  'reaction',
] as const)

/** A member of {@link phases}. */
export type Phase = (typeof phases)[number]

const kDeclared = Symbol.for('@parapet/kit:phases')

interface Declaration {
  readonly plugin: string
  readonly phase: Phase
}

interface PhasedInstance {
  [kDeclared]?: readonly Declaration[]
}

/**
 * Declares the phase of a plugin as it registers. Plugins of one phase may be registered in any
 * order. A child context inherits what its parents declared, as it inherits their hooks.
 *
 * @param plugin the npm name.
 * @throws PARAPET_KIT_WRONG_ORDER a plugin of a later phase is registered already; the message
 *   names both and shows the lines in the right order.
 * @throws PARAPET_KIT_INVALID_ARGUMENT the phase is unknown.
 */
export function declarePhase(app: FastifyInstance, plugin: string, phase: Phase): void {
  if (!phases.includes(phase)) {
    throw new PARAPET_KIT_INVALID_ARGUMENT(
      `phase "${phase}" of ${plugin}`,
      `is not one of ${phases.join(', ')}`,
    )
  }
  const instance = app as FastifyInstance & PhasedInstance
  const declared = instance[kDeclared] ?? []
  const next = [...declared, { plugin, phase }]
  const late = declared.find((other) => rank(other) > rank({ plugin, phase }))
  if (late !== undefined) {
    const lines = next
      .toSorted((a, b) => rank(a) - rank(b))
      .map(({ plugin, phase }) => `  await app.register(${variableOf(plugin)}) // ${phase}`)
    throw new PARAPET_KIT_WRONG_ORDER(
      `${plugin} (phase "${phase}") must be registered before ${late.plugin} (phase "${late.phase}"). ` +
        `Register in this order:\n${[...new Set(lines)].join('\n')}\n` +
        'If a loader such as @fastify/autoload chooses the order, wrap the later plugin by fastify-plugin ' +
        'with "dependencies": [the "name" of the earlier one].',
    )
  }
  // An own property of this context: children inherit it, parents and siblings do not see it.
  Object.defineProperty(instance, kDeclared, { value: next, configurable: true })
}

function rank({ phase }: Declaration): number {
  return phases.indexOf(phase)
}

/** `@parapet/security-headers` → `securityHeaders` */
function variableOf(plugin: string): string {
  return plugin.replace(/^.*\//, '').replace(/-(\w)/g, (_, letter: string) => letter.toUpperCase())
}
