/** Every policy of the app: judged once, computed once, then looked up. */
import { compileBlock, type Block, type ExplainedHeader, type HelmetRecorder } from './block.ts'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_UNSAFE_POLICY,
} from './errors.ts'
import type { IsolationScope } from './isolation.ts'
import { applyWaivers, lintApp } from './lint-app.ts'
import { lintPolicy } from './lint-policy.ts'
import type { SecurityHeadersSettings } from './options.ts'
import {
  mergePolicy,
  OPTIONS,
  policyOf,
  type Policy,
  type PolicyLayer,
  type Waiver,
} from './policy.ts'
import { presets } from './presets.ts'
import { compileRule, layerOf } from './route-rule.ts'
import { describeFinding, type Finding } from './rules.ts'

/** What the request path knows of a route. Its block is there once the app is ready. */
export interface RouteEntry {
  readonly policy: Policy
  readonly isolation: IsolationScope
  readonly csrfExempt: boolean
  /** Whether its replies are pages. */
  readonly page: boolean
  block: Block
}

/** The headers of a route, and who set them. */
export interface Explanation {
  readonly preset: string
  readonly headers: readonly ExplainedHeader[]
  /** What is left out, by name, and why. */
  readonly relaxed: Readonly<Record<string, string>>
  readonly waived: readonly Waiver[]
  /** Whose requests come in. */
  readonly isolation: IsolationScope
}

/** The policies of one app. */
export interface Catalog {
  /** For routes without a rule, and where no route was found. */
  readonly base: RouteEntry
  /**
   * Reads the rule of a route.
   *
   * @throws PARAPET_SECURITY_HEADERS_INVALID_RULE
   */
  add(raw: unknown, methods: readonly string[], url: string): RouteEntry
  /** Judges and computes the rules of all routes. @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY */
  seal(): Promise<void>
  /** What is known of a route, by method and pattern. */
  explain(route: string): Explanation
}

/**
 * Judges and computes the policy of the options.
 *
 * @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY the lint has findings, or helmet refuses the policy.
 */
export async function createCatalog(
  settings: SecurityHeadersSettings,
  record: HelmetRecorder,
): Promise<Catalog> {
  const reportPath = settings.reports?.path ?? null
  const layer = readLayer(settings)
  const policy = mergePolicy(policyOf(settings.preset), layer, OPTIONS)
  const now = settings.clock.now()
  refuse([
    ...applyWaivers(lintApp(settings, now), policy.waivers, [], now),
    ...judge(policy, 'the options', now).filter(({ rule }) => !rule.startsWith('WAIVER')),
  ])
  const base: RouteEntry = {
    policy,
    isolation: settings.isolation.scope,
    csrfExempt: false,
    page: presets[policy.preset].pages,
    block: await compile(policy, 'the options', reportPath, record),
  }
  // Two routes of one name may differ by a constraint, so they are kept in a list.
  const routes: [name: string, entry: RouteEntry][] = []
  const byName = new Map<string, RouteEntry>()
  return {
    base,
    add(raw, methods, url) {
      const route = `${methods.join(',')} ${url}`
      const rule = compileRule(raw, { policy, layer }, route)
      const entry = {
        policy: rule.policy,
        isolation: rule.isolation ?? base.isolation,
        csrfExempt: rule.csrfExempt,
        page: presets[rule.policy.preset].pages,
        block: base.block,
      }
      routes.push([route, entry])
      for (const method of methods) byName.set(`${method} ${url}`, entry)
      return entry
    },
    async seal() {
      refuse(routes.flatMap(([route, entry]) => judge(entry.policy, `route ${route}`, now)))
      for (const [route, entry] of routes) {
        entry.block = await compile(entry.policy, `route ${route}`, reportPath, record)
      }
    },
    explain(route) {
      const { policy: found, block, isolation } = byName.get(route) ?? base
      return Object.freeze({
        preset: found.preset,
        headers: block.explained,
        relaxed: Object.freeze({ ...found.relax }),
        waived: Object.freeze([...found.waivers]),
        isolation,
      })
    },
  }
}

function readLayer(settings: SecurityHeadersSettings): PolicyLayer {
  try {
    return layerOf(settings)
  } catch (error) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  hashFiles: ${(error as Error).message}`,
    )
  }
}

function judge(policy: Policy, where: string, now: number): Finding[] {
  const { accepts } = presets[policy.preset]
  return applyWaivers(lintPolicy(policy, where), policy.waivers, accepts, now)
}

async function compile(
  policy: Policy,
  where: string,
  reportPath: string | null,
  record: HelmetRecorder,
): Promise<Block> {
  try {
    return await compileBlock(policy, reportPath, record)
  } catch (error) {
    throw new PARAPET_SECURITY_HEADERS_UNSAFE_POLICY(`  ${where}: ${(error as Error).message}`)
  }
}

function refuse(findings: readonly Finding[]): void {
  if (findings.length === 0) return
  const lines = [...new Set(findings.map(describeFinding))]
  throw new PARAPET_SECURITY_HEADERS_UNSAFE_POLICY(lines.join('\n'))
}
