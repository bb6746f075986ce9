/** Applies the settings of the options and of route rules to a preset, layer by layer. */
import { addSources } from '../csp/directives.ts'
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
] as const

/**
 * Applies a layer to a policy. `csp` is replaced directive by directive and `permissions` feature by
 * feature; hashes, `relax` and `waivers` are added; every other setting is replaced.
 *
 * @param name the name of the layer, as `explain` shows it.
 */
export function applyLayer(base: Policy, layer: PolicyLayer, name: string): Policy {
  const changes: Record<string, unknown> = {}
  for (const key of REPLACED) if (layer[key] !== undefined) changes[key] = layer[key]
  const { csp, permissions, scriptHashes = [], styleHashes = [], relax, waivers } = layer
  if (csp !== undefined || scriptHashes.length + styleHashes.length > 0) {
    const merged = { ...base.csp, ...csp }
    const hashed = addSources(merged, 'script-src', scriptHashes)
    changes['csp'] = addSources(hashed, 'style-src', styleHashes)
  }
  if (permissions !== undefined) changes['permissions'] = { ...base.permissions, ...permissions }
  if (relax !== undefined) changes['relax'] = { ...base.relax, ...relax }
  if (waivers !== undefined) changes['waivers'] = [...base.waivers, ...waivers]
  return { ...base, ...changes, setBy: { ...base.setBy, ...settersOf(base, changes, name) } }
}

/** Settings of the app's options that still apply when a route selects another preset. */
const APP_WIDE = new Set(['hsts', 'permissions', 'networkErrorLogging', 'waivers'])

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
