/** The header block: the names and values of a policy, computed once and copied to each response. */
import { addSources, CSP, CSP_REPORT_ONLY, type CspDirectives } from '../csp/directives.ts'
import { effectivePolicies } from '../csp/effective-policies.ts'
import {
  hasNonceSource,
  NONCE_PLACEHOLDER,
  withNoncePlaceholder,
  withoutNonce,
} from '../csp/nonce.ts'
import { serializeCsp } from '../csp/serialize.ts'
import type { Policy } from '../policy/policy.ts'
import { headerSettings } from '../policy/relax.ts'
import { guardedNames } from './guarded-names.ts'
import { cspOnly, helmetSettings, type HelmetRecorder } from './helmet-settings.ts'
import { ownHeaders } from './own-headers.ts'

/** A header with a nonce: the parts of its value before, between and after the nonces. */
interface NonceHeader {
  readonly name: string
  readonly parts: readonly string[]
}

/** One header, its value, and what set it. */
export interface ExplainedHeader {
  readonly name: string
  readonly value: string
  /** The preset, options and routes that set it, for instance `preset web + route GET /map`. */
  readonly setBy: string
}

/** The headers of one policy. Frozen. */
export interface Block {
  /** Lower-case names, in the same order as `values`. */
  readonly names: readonly string[]
  readonly values: readonly string[]
  /** Replace the headers of the same name when a handler reads the nonce. */
  readonly nonceHeaders: readonly NonceHeader[]
  /** The policy with a place for the hashes of a page, in the preset `docs` only. */
  readonly inlineHeader: NonceHeader | null
  readonly cacheControl: Policy['cacheControl']
  /** The reasons by the name of each header that is left out. */
  readonly relaxed: Policy['relax']
  /** The names that thrown errors and upstream responses must not set. */
  readonly guarded: ReadonlySet<string>
  readonly explained: readonly ExplainedHeader[]
}

/**
 * Computes the header block of a policy.
 *
 * @param reportPath the path that receives reports. `null`: browsers send none.
 * @throws the error of `record`, when helmet refuses the policy.
 */
export async function compileBlock(
  policy: Policy,
  reportPath: string | null,
  record: HelmetRecorder,
): Promise<Block> {
  const { enforced, reported } = effectivePolicies(policy, reportPath)
  const all: Record<string, string> = {
    ...(await record(helmetSettings(policy, enforced === null ? null : withoutNonce(enforced)))),
    ...(reported === null ? {} : await record(cspOnly(withoutNonce(reported), true))),
    ...ownHeaders(policy, reportPath),
  }
  const headers = Object.entries(all).filter(([name]) => !(name in policy.relax))
  const nonceHeaders = [
    ...(await compileNonceHeaders(enforced, false, record)),
    ...(await compileNonceHeaders(reported, true, record)),
  ]
  const names = headers.map(([name]) => name)
  return Object.freeze({
    names: Object.freeze(names),
    values: Object.freeze(headers.map(([, value]) => value)),
    nonceHeaders: Object.freeze(nonceHeaders),
    inlineHeader: compileInlineHeader(policy, enforced),
    cacheControl: policy.cacheControl,
    relaxed: policy.relax,
    guarded: guardedNames(names, policy.passHeaders),
    explained: Object.freeze(
      headers.map(([name, value]) => Object.freeze({ name, value, setBy: setterOf(name, policy) })),
    ),
  })
}

async function compileNonceHeaders(
  directives: CspDirectives | null,
  reportOnly: boolean,
  record: HelmetRecorder,
): Promise<NonceHeader[]> {
  if (directives === null || !hasNonceSource(directives)) return []
  const recorded = await record(cspOnly(withNoncePlaceholder(directives), reportOnly))
  return Object.entries(recorded).map(([name, value]) =>
    Object.freeze({ name, parts: Object.freeze(value.split(NONCE_PLACEHOLDER)) }),
  )
}

/** Sources are added to `script-src`. A policy that has none, or is only reported on, needs no place. */
export function compileInlineHeader(
  policy: Policy,
  enforced: CspDirectives | null,
): NonceHeader | null {
  if (policy.preset !== 'docs' || enforced?.['script-src'] === undefined) return null
  const withPlace = addSources(enforced, 'script-src', [NONCE_PLACEHOLDER])
  const value = serializeCsp(withoutNonce(withPlace))
  return Object.freeze({ name: CSP, parts: Object.freeze(value.split(NONCE_PLACEHOLDER)) })
}

function setterOf(name: string, policy: Policy): string {
  if (name === CSP_REPORT_ONLY) {
    return policy.setBy[policy.reportOnly === null ? 'cspReportOnly' : 'reportOnly']!
  }
  if (name === 'reporting-endpoints') return 'option reports'
  return policy.setBy[headerSettings[name] ?? 'preset']!
}
