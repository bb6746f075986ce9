/** The rule of a route: what it declares under `config.securityHeaders`. */
import { option, optionGroup, readOptions, type OptionSettings } from '@parapet/kit'
import { hashFiles } from './csp/inline-hashes.ts'
import { PARAPET_SECURITY_HEADERS_INVALID_RULE } from './errors.ts'
import type { IsolationScope } from './isolation/fetch-metadata.ts'
import { ruleHints } from './option-hints.ts'
import { appWideSettings, applyLayer, OPTIONS_LAYER } from './policy/layers.ts'
import { policyTable, type PolicyOptions } from './policy/options.ts'
import { presetNames, type Policy, type PolicyLayer } from './policy/policy.ts'
import { presetPolicy } from './presets/presets.ts'
import { reasonReader } from './policy/relax.ts'

/** The rule of a route. Settings that it leaves out keep the value of the options. */
export interface SecurityHeadersRule extends PolicyOptions {
  /** Accepts requests from other sites, for the reason given: 10 to 500 characters. */
  readonly isolation?: { readonly scope: IsolationScope; readonly reason: string }
  /** Why the route accepts requests without a CSRF token: 10 to 500 characters. */
  readonly csrfExempt?: string
  /** Why clients use http here, for instance the probe of a load balancer: 10 to 500 characters. */
  readonly plainHttp?: string
}

const ruleTable = {
  preset: option.optional(option.oneOf(presetNames)),
  ...policyTable,
  isolation: option.optional(
    optionGroup({
      scope: option.oneOf(['same-origin', 'same-site', 'cross-site']),
      reason: reasonReader,
    }),
  ),
  csrfExempt: option.optional(reasonReader),
  plainHttp: option.optional(reasonReader),
}

type RuleSettings = OptionSettings<typeof ruleTable>
/** The settings that the options and a rule have in common. */
export type PolicySettings = Omit<RuleSettings, 'isolation' | 'csrfExempt'>

/** A rule with its complete policy. The headers are computed later, when all routes are known. */
export interface CompiledRule {
  readonly policy: Policy
  /** `null`: the scope of the options applies. */
  readonly isolation: IsolationScope | null
  readonly csrfExempt: boolean
}

/** Converts settings into a layer; reads and hashes the files of `hashFiles`. @throws Error */
export function layerOf({
  hashFiles: files,
  preset: _preset,
  ...settings
}: PolicySettings): PolicyLayer {
  const hashes = hashFiles(files)
  return {
    ...(settings as PolicyLayer),
    externalScripts: hashes.external,
    scriptHashes: [...settings.scriptHashes, ...hashes.scripts],
    styleHashes: [...settings.styleHashes, ...hashes.styles],
  }
}

/**
 * Compiles the rule of a route, at boot.
 *
 * @param app the policy and the layer of the options.
 * @param route the methods and the pattern, for messages and for `explain`.
 * @throws PARAPET_SECURITY_HEADERS_INVALID_RULE with every fault.
 */
export function compileRule(
  raw: unknown,
  app: { readonly policy: Policy; readonly layer: PolicyLayer },
  route: string,
): CompiledRule {
  const { isolation, csrfExempt, ...settings } = readOptions(
    route,
    raw,
    ruleTable,
    PARAPET_SECURITY_HEADERS_INVALID_RULE,
    { hints: ruleHints },
  )
  if (settings.preset === 'spa' && app.layer.buildHashes === undefined) {
    const fault = '  "preset" "spa" needs the option "build" of the plugin'
    throw new PARAPET_SECURITY_HEADERS_INVALID_RULE(route, fault)
  }
  const base =
    settings.preset === undefined || settings.preset === app.policy.preset
      ? app.policy
      : applyLayer(presetPolicy(settings.preset), appWideSettings(app.layer), OPTIONS_LAYER)
  try {
    return {
      policy: applyLayer(base, layerOf(settings), `route ${route}`),
      isolation: isolation?.scope ?? null,
      csrfExempt: csrfExempt !== undefined,
    }
  } catch (error) {
    const fault = `  "hashFiles" cannot be read: ${(error as Error).message}`
    throw new PARAPET_SECURITY_HEADERS_INVALID_RULE(route, fault)
  }
}
