/** The policies of an app: checked and computed once at boot, then looked up. */
import type { DeclaredRoute } from '@parapet/kit'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_UNSAFE_POLICY,
} from './errors.ts'
import { compileBlock, type Block, type ExplainedHeader } from './headers/block.ts'
import type { HelmetRecorder } from './headers/helmet-settings.ts'
import type { RouteEntry } from './headers/route-entry.ts'
import type { IsolationScope } from './isolation/fetch-metadata.ts'
import { lintApp } from './lint/app.ts'
import { lintPolicy } from './lint/policy.ts'
import { describeFinding, type Finding } from './lint/rules.ts'
import { applyWaivers } from './lint/waivers.ts'
import type { SecurityHeadersSettings } from './options.ts'
import { applyLayer, OPTIONS_LAYER } from './policy/layers.ts'
import type { Policy, PolicyLayer, Waiver } from './policy/policy.ts'
import { presetPolicy, presets } from './policy/presets.ts'
import { compileRule, layerOf } from './route-rule.ts'

/** The headers of a route, and what set them. */
export interface Explanation {
  readonly preset: string
  readonly headers: readonly ExplainedHeader[]
  /** The reasons by the name of each header or directive that is left out. */
  readonly relaxed: Readonly<Record<string, string>>
  readonly waived: readonly Waiver[]
  /** Which sites may send requests. */
  readonly isolation: IsolationScope
}

interface CatalogEntry extends RouteEntry {
  readonly policy: Policy
  /** Replaced by {@link Catalog.seal}. */
  block: Block
}

/** The policies of an app. */
export interface Catalog {
  /** The entry of routes without a rule, and of requests without a route. */
  readonly base: RouteEntry
  /**
   * Adds a route with a rule.
   *
   * @returns `undefined`: the route has no rule.
   * @throws PARAPET_SECURITY_HEADERS_INVALID_RULE
   */
  readonly add: (declared: Pick<DeclaredRoute, 'raw' | 'route' | 'name'>) => RouteEntry | undefined
  /** Checks and computes the policies of all routes. @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY */
  readonly seal: () => Promise<void>
  /** @param route the method and the pattern: `GET /users/:id` */
  readonly explain: (route: string) => Explanation
}

/**
 * Checks and computes the policy of the options.
 *
 * @param prefix the prefix of the app's routes.
 * @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY the lint or helmet refuses the policy.
 */
export async function createCatalog(
  settings: SecurityHeadersSettings,
  prefix: string,
  record: HelmetRecorder,
): Promise<Catalog> {
  const reportPath = settings.reports === undefined ? null : `${prefix}${settings.reports.path}`
  const layer = readLayer(settings)
  const policy = applyLayer(presetPolicy(settings.preset), layer, OPTIONS_LAYER)
  const now = settings.clock.now()
  lintOptions(settings, policy, now)
  const block = await compile(policy, 'the options', reportPath, record)
  const base = createEntry(policy, settings.isolation.scope, false, block)
  // A list: two routes of the same name may differ by a constraint.
  const routes: [name: string, entry: CatalogEntry][] = []
  const byName = new Map<string, CatalogEntry>()
  return {
    base,
    add({ raw, route, name }) {
      if (raw === undefined) return undefined
      const rule = compileRule(raw, { policy, layer }, name)
      const isolation = rule.isolation ?? base.isolation
      const entry = createEntry(rule.policy, isolation, rule.csrfExempt, base.block)
      routes.push([name, entry])
      for (const method of [route.method].flat()) byName.set(`${method} ${route.url}`, entry)
      return entry
    },
    async seal() {
      refuse(routes.flatMap(([name, entry]) => lintRoute(entry.policy, `route ${name}`, now)))
      for (const [name, entry] of routes) {
        entry.block = await compile(entry.policy, `route ${name}`, reportPath, record)
      }
    },
    explain: (route) => explainEntry(byName.get(route) ?? base),
  }
}

function explainEntry({ policy, block, isolation }: CatalogEntry): Explanation {
  return Object.freeze({
    preset: policy.preset,
    headers: block.explained,
    relaxed: Object.freeze({ ...policy.relax }),
    waived: Object.freeze([...policy.waivers]),
    isolation,
  })
}

function createEntry(
  policy: Policy,
  isolation: IsolationScope,
  csrfExempt: boolean,
  block: Block,
): CatalogEntry {
  return { policy, isolation, csrfExempt, page: presets[policy.preset].pages, block }
}

function readLayer(settings: SecurityHeadersSettings): PolicyLayer {
  try {
    return layerOf(settings)
  } catch (error) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  "hashFiles" cannot be read: ${(error as Error).message}`,
    )
  }
}

function lintOptions(settings: SecurityHeadersSettings, policy: Policy, now: number): void {
  refuse([
    ...applyWaivers(lintApp(settings, now), policy.waivers, [], now),
    // Without the findings about the waivers themselves, which the line above has already.
    ...lintRoute(policy, 'the options', now).filter(({ rule }) => !rule.startsWith('WAIVER')),
  ])
}

function lintRoute(policy: Policy, where: string, now: number): Finding[] {
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
