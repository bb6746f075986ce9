/** What a route says of itself under `config.securityHeaders`. */
import { option, optionGroup, readOptions, type OptionSettings } from '@parapet/kit'
import { PARAPET_SECURITY_HEADERS_INVALID_RULE } from './errors.ts'
import { hashFiles } from './hashes.ts'
import type { IsolationScope } from './isolation.ts'
import {
  lastingPart,
  mergePolicy,
  OPTIONS,
  policyOf,
  type Policy,
  type PolicyLayer,
} from './policy.ts'
import { policyTable, reason, type PolicyOptions } from './policy-options.ts'
import { presetNames } from './presets.ts'

/** The rule of a route; what it leaves out is as the options have it. */
export interface SecurityHeadersRule extends PolicyOptions {
  /** Opens the route to requests of other sites, for the reason given. */
  readonly isolation?: { readonly scope: IsolationScope; readonly reason: string }
  /** Why the route takes requests without a CSRF token. */
  readonly csrfExempt?: string
}

const ruleTable = {
  preset: option.optional(option.oneOf(presetNames)),
  ...policyTable,
  isolation: option.optional(
    optionGroup({ scope: option.oneOf(['same-origin', 'same-site', 'cross-site']), reason }),
  ),
  csrfExempt: option.optional(reason),
}

type RuleSettings = OptionSettings<typeof ruleTable>
/** What both the options and a rule have. */
export type PolicySettings = Omit<RuleSettings, 'isolation' | 'csrfExempt'>

/** A rule made ready, but for the headers, which are computed once all routes are known. */
export interface CompiledRule {
  readonly policy: Policy
  readonly isolation: IsolationScope | null
  readonly csrfExempt: boolean
}

/** Turns settings into a layer: inline code is hashed here. */
export function layerOf({
  hashFiles: files,
  preset: _preset,
  ...settings
}: PolicySettings): PolicyLayer {
  const hashes = hashFiles(files)
  return {
    ...(settings as PolicyLayer),
    scriptHashes: [...settings.scriptHashes, ...hashes.scripts],
    styleHashes: [...settings.styleHashes, ...hashes.styles],
  }
}

/**
 * Makes a rule ready, at boot.
 *
 * @param app the preset and the layer of the options.
 * @param route method and pattern, for messages and for `explain`.
 * @throws PARAPET_SECURITY_HEADERS_INVALID_RULE listing every fault.
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
  )
  const base =
    settings.preset === undefined || settings.preset === app.policy.preset
      ? app.policy
      : mergePolicy(policyOf(settings.preset), lastingPart(app.layer), OPTIONS)
  try {
    return {
      policy: mergePolicy(base, layerOf(settings), `route ${route}`),
      isolation: isolation?.scope ?? null,
      csrfExempt: csrfExempt !== undefined,
    }
  } catch (error) {
    throw new PARAPET_SECURITY_HEADERS_INVALID_RULE(route, `  ${(error as Error).message}`)
  }
}
