/** The policies of an app: checked and computed once at boot, then looked up. */
import type { Build } from './build/read-build.ts'
import {
  PARAPET_SECURITY_HEADERS_INVALID_OPTION,
  PARAPET_SECURITY_HEADERS_UNSAFE_POLICY,
} from './errors.ts'
import { compileBlock, type Block } from './headers/block.ts'
import type { HelmetRecorder } from './headers/helmet-settings.ts'
import { lintApp } from './lint/app.ts'
import { lintPolicy } from './lint/policy.ts'
import { applyWaivers } from './lint/waivers.ts'
import type { SecurityHeadersSettings } from './options.ts'
import { applyLayer, OPTIONS_LAYER } from './policy/layers.ts'
import type { Policy, PolicyLayer } from './policy/policy.ts'
import { presetPolicy, presets } from './presets/presets.ts'
import {
  createEntry,
  refuse,
  RouteCatalog,
  type Catalog,
  type CatalogEntry,
  type Lint,
} from './route-catalog.ts'
import { layerOf } from './route-rule.ts'

/**
 * Checks and computes the policy of the options.
 *
 * @param prefix the prefix of the app's routes.
 * @param build the option `build`.
 * @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY the lint or helmet refuses the policy.
 */
export async function createCatalog(
  settings: SecurityHeadersSettings,
  prefix: string,
  record: HelmetRecorder,
  build: Build | null,
): Promise<Catalog> {
  const reportPath = settings.reports === undefined ? null : `${prefix}${settings.reports.path}`
  const layer = readLayer(settings, build)
  const policy = applyLayer(presetPolicy(settings.preset), layer, OPTIONS_LAYER)
  const lint = createLint(settings, reportPath)
  lintOptions(settings, policy, lint)
  const block = await compile(policy, 'the options', reportPath, record)
  const base = createEntry(policy, settings.isolation.scope, false, block)
  const compiler = {
    base,
    layer,
    lint,
    reportPath,
    compile: (each: CatalogEntry, where: string) => compile(each.policy, where, reportPath, record),
  }
  return new RouteCatalog(compiler, settings.routes)
}

function readLayer(settings: SecurityHeadersSettings, build: Build | null): PolicyLayer {
  try {
    return { ...layerOf(settings), ...(build === null ? {} : { buildHashes: build.inline }) }
  } catch (error) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_OPTION(
      '@parapet/security-headers',
      `  "hashFiles" cannot be read: ${(error as Error).message}`,
    )
  }
}

function createLint({ clock }: SecurityHeadersSettings, reportPath: string | null): Lint {
  const now = clock.now()
  return (policy, where) => {
    const { accepts } = presets[policy.preset]
    return applyWaivers(lintPolicy(policy, where, reportPath), policy.waivers, accepts, now)
  }
}

function lintOptions(settings: SecurityHeadersSettings, policy: Policy, lint: Lint): void {
  const now = settings.clock.now()
  refuse([
    ...applyWaivers(lintApp(settings, now), policy.waivers, [], now),
    // Without the findings about the waivers themselves, which the line above has already.
    ...lint(policy, 'the options').filter(({ rule }) => !rule.startsWith('WAIVER')),
  ])
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
