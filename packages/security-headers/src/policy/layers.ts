/** Applies the settings of the options and of route rules to a preset, layer by layer. */
import { addSources, type CspDirectives } from '../csp/directives.ts'
import type { Policy, PolicyLayer } from './policy.ts'

/** The layer name of the app's options. A route's layer is named `route GET /path`. */
export const OPTIONS_LAYER = 'options'

const REPLACED = [
  'hsts',
  'referrerPolicy',
  'openerPolicy',
  'embedderPolicy',
  'resourcePolicy',
  'frameOptions',
  'integrityPolicy',
  'networkErrorLogging',
  'cacheControl',
  'cspReportOnly',
  'reportOnly',
  'openerPolicyReportOnly',
  'embedderPolicyReportOnly',
  'documentPolicy',
  'documentPolicyReportOnly',
  'plainHttp',
] as const

/**
 * Applies a layer to a policy. `csp` is replaced directive by directive and `permissions` feature by
 * feature; hashes, `relax`, `passHeaders` and `waivers` are added; every other setting is replaced.
 *
 * @param name the name of the layer, as `explain` shows it.
 */
export function applyLayer(base: Policy, layer: PolicyLayer, name: string): Policy {
  const changes: Record<string, unknown> = {}
  for (const key of REPLACED) if (layer[key] !== undefined) changes[key] = layer[key]
  const csp = mergeCsp(base, layer)
  if (csp !== undefined) changes['csp'] = csp
  const { externalScripts = [] } = layer
  if (externalScripts.length > 0) changes['externalScripts'] = externalScripts
  const { permissions, relax, plainHttp, passHeaders, waivers } = layer
  if (permissions !== undefined) changes['permissions'] = { ...base.permissions, ...permissions }
  if (relax !== undefined || plainHttp !== undefined) {
    changes['relax'] = { ...base.relax, ...relax, ...plainHttpRelax(plainHttp) }
  }
  if (passHeaders !== undefined) changes['passHeaders'] = { ...base.passHeaders, ...passHeaders }
  if (waivers !== undefined) changes['waivers'] = [...base.waivers, ...waivers]
  return { ...base, ...changes, setBy: { ...base.setBy, ...settersOf(base, changes, name) } }
}

/** @returns `undefined`: the layer changes nothing. */
function mergeCsp(base: Policy, layer: PolicyLayer): CspDirectives | undefined {
  const build = base.preset === 'spa' ? layer.buildHashes : undefined
  const scripts = [...(layer.scriptHashes ?? []), ...(build?.scripts ?? [])]
  const styles = [...(layer.styleHashes ?? []), ...(build?.styles ?? [])]
  if (layer.csp === undefined && scripts.length + styles.length === 0) return undefined
  const hashed = addSources({ ...base.csp, ...layer.csp }, 'script-src', scripts)
  return addSources(hashed, 'style-src', styles)
}

/** Over http, the first would break every page under a name other than localhost. @see RFC 6797, 7.2 */
function plainHttpRelax(reason: string | undefined): Readonly<Record<string, string>> {
  if (reason === undefined) return {}
  return { 'upgrade-insecure-requests': reason, 'strict-transport-security': reason }
}

/** Settings of the app's options that still apply when a route selects another preset. */
const APP_WIDE = new Set([
  'hsts',
  'permissions',
  'networkErrorLogging',
  'waivers',
  'plainHttp',
  'buildHashes',
])

/** The part of the options' layer that still applies when a route selects another preset. */
export function appWideSettings(layer: PolicyLayer): PolicyLayer {
  return Object.fromEntries(Object.entries(layer).filter(([key]) => APP_WIDE.has(key)))
}

/** `csp` and `permissions` may be set by several layers, every other setting by the last one only. */
function settersOf(base: Policy, changes: object, name: string): Record<string, string> {
  const entries = Object.keys(changes).map((key) => {
    const before = base.setBy[key]
    const merged = key === 'csp' || key === 'permissions'
    const setter = name === OPTIONS_LAYER ? `option ${key}` : name
    return [key, merged && before !== undefined ? `${before} + ${setter}` : setter]
  })
  return Object.fromEntries(entries) as Record<string, string>
}
