/** The block of a route for one tenant: the same headers with another Content-Security-Policy. */
import { CSP, CSP_REPORT_ONLY, type CspDirectives } from '../csp/directives.ts'
import { effectivePolicies } from '../csp/effective-policies.ts'
import {
  NONCE_PLACEHOLDER,
  hasNonceSource,
  withNoncePlaceholder,
  withoutNonce,
} from '../csp/nonce.ts'
import { serializeCsp } from '../csp/serialize.ts'
import type { Policy } from '../policy/policy.ts'
import { compileInlineHeader, type Block } from './block.ts'

const FRAME_OPTIONS = 'x-frame-options'

/** X-Frame-Options cannot list origins, so it follows `frame-ancestors` or is left out. */
export function withFrameOptions(policy: Policy, csp: CspDirectives): Policy {
  const ancestors = csp['frame-ancestors']?.join(' ')
  if (ancestors === undefined) return policy
  if (ancestors === "'none'") return { ...policy, frameOptions: 'deny' }
  if (ancestors === "'self'") return { ...policy, frameOptions: 'sameorigin' }
  return { ...policy, relax: { ...policy.relax, [FRAME_OPTIONS]: 'the tenant lists origins' } }
}

/** @param reportPath the path that receives reports. `null`: browsers send none. */
export function compileTenantBlock(block: Block, policy: Policy, reportPath: string | null): Block {
  const { enforced, reported } = effectivePolicies(policy, reportPath)
  const changed = new Map<string, string | null>([
    [CSP, enforced === null ? null : serializeCsp(withoutNonce(enforced))],
    [CSP_REPORT_ONLY, reported === null ? null : serializeCsp(withoutNonce(reported))],
    [FRAME_OPTIONS, FRAME_OPTIONS in policy.relax ? null : policy.frameOptions.toUpperCase()],
  ])
  const headers = block.names
    .map(
      (name, index) => [name, changed.has(name) ? changed.get(name) : block.values[index]] as const,
    )
    .filter((header): header is readonly [string, string] => typeof header[1] === 'string')
  return Object.freeze({
    ...block,
    names: Object.freeze(headers.map(([name]) => name)),
    values: Object.freeze(headers.map(([, value]) => value)),
    inlineHeader: compileInlineHeader(policy, enforced),
    nonceHeaders: Object.freeze([
      ...nonceHeader(CSP, enforced),
      ...nonceHeader(CSP_REPORT_ONLY, reported),
    ]),
  })
}

function nonceHeader(name: string, directives: CspDirectives | null): Block['nonceHeaders'] {
  if (directives === null || !hasNonceSource(directives)) return []
  const value = serializeCsp(withNoncePlaceholder(directives))
  return [Object.freeze({ name, parts: Object.freeze(value.split(NONCE_PLACEHOLDER)) })]
}
