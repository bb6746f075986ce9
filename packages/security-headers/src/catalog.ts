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
 * @param prefix what stands before the paths of the app's routes.
 * @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY the lint has findings, or helmet refuses the policy.
 */
export async function createCatalog(
  settings: SecurityHeadersSettings,
  prefix: string,
  record: HelmetRecorder,
): Promise<Catalog> {
  const reportPath = settings.reports === undefined ? null : `${prefix}${settings.reports.path}`
  const layer = readLayer(settings)
  const policy = mergePolicy(policyOf(settings.preset), layer, OPTIONS)
  const now = settings.clock.now()
  judgeOptions(settings, policy, now)
  const block = await compile(policy, 'the options', reportPath, record)
  const base = entryOf(policy, settings.isolation.scope, false, block)
  // Two routes of one name may differ by a constraint, so they are kept in a list.
  const routes: [name: string, entry: RouteEntry][] = []
  const byName = new Map<string, RouteEntry>()
  return {
    base,
    add(raw, methods, url) {
      const route = `${methods.join(',')} ${url}`
      const rule = compileRule(raw, { policy, layer }, route)
      const isolation = rule.isolation ?? base.isolation
      const entry = entryOf(rule.policy, isolation, rule.csrfExempt, base.block)
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
    explain: (route) => explainEntry(byName.get(route) ?? base),
  }
}

function explainEntry({ policy, block, isolation }: RouteEntry): Explanation {
  return Object.freeze({
    preset: policy.preset,
    headers: block.explained,
    relaxed: Object.freeze({ ...policy.relax }),
    waived: Object.freeze([...policy.waivers]),
    isolation,
  })
}

function entryOf(
  policy: Policy,
  isolation: IsolationScope,
  csrfExempt: boolean,
  block: Block,
): RouteEntry {
  return { policy, isolation, csrfExempt, page: presets[policy.preset].pages, block }
}

function judgeOptions(settings: SecurityHeadersSettings, policy: Policy, now: number): void {
  refuse([
    ...applyWaivers(lintApp(settings, now), policy.waivers, [], now),
    // The waivers themselves are judged once.
    ...judge(policy, 'the options', now).filter(({ rule }) => !rule.startsWith('WAIVER')),
  ])
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
