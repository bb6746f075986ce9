/** The lint of all headers of a policy but the Content-Security-Policy. */
import type { CspDirectives } from '../csp/directives.ts'
import { ONE_YEAR_SECONDS } from '../policy/hsts.ts'
import type { Policy } from '../policy/policy.ts'
import type { RuleId } from './rules.ts'

type Found = readonly [rule: RuleId, found: string]

/** Finds the rules that the headers break. @param enforced the enforced CSP, or `null`. */
export function lintHeaders(policy: Policy, enforced: CspDirectives | null): Found[] {
  return [
    ...lintRelaxed(policy),
    ...lintHsts(policy),
    ...lintValues(policy),
    ...lintPermissions(policy),
    ...lintFrameOptions(policy, enforced),
  ]
}

function select(checks: readonly (readonly [broken: boolean, RuleId, string])[]): Found[] {
  return checks.filter(([broken]) => broken).map(([, rule, text]) => [rule, text])
}

function lintRelaxed({ relax, plainHttp }: Policy): Found[] {
  return select([
    ['content-security-policy' in relax, 'CSP-RELAXED', 'relax'],
    ['strict-transport-security' in relax && plainHttp === null, 'HSTS-RELAXED', 'relax'],
    ['x-content-type-options' in relax, 'HEADER-NOSNIFF', 'relax'],
  ])
}

function lintHsts({ hsts: { maxAgeSeconds, includeSubDomains, preload } }: Policy): Found[] {
  const short = maxAgeSeconds < ONE_YEAR_SECONDS
  return select([
    [short, 'HSTS-SHORT', `maxAgeSeconds ${maxAgeSeconds}`],
    [!includeSubDomains, 'HSTS-SUBDOMAINS', 'includeSubDomains false'],
    [preload && (!includeSubDomains || short), 'HSTS-PRELOAD', 'preload true'],
  ])
}

const LEAKY = new Set(['origin-when-cross-origin', 'no-referrer-when-downgrade', 'unsafe-url'])

function lintValues(policy: Policy): Found[] {
  return select([
    [LEAKY.has(policy.referrerPolicy), 'HEADER-REFERRER', policy.referrerPolicy],
    [policy.openerPolicy === 'unsafe-none', 'HEADER-OPENER', 'unsafe-none'],
    [policy.embedderPolicy === 'unsafe-none', 'HEADER-EMBEDDER', 'unsafe-none'],
    [policy.resourcePolicy === 'cross-origin', 'HEADER-RESOURCE', 'cross-origin'],
    [policy.cacheControl === 'handler', 'CACHE-HANDLER', 'cacheControl handler'],
  ])
}

function lintPermissions({ permissions }: Policy): Found[] {
  return Object.entries(permissions).flatMap(([feature, list]) =>
    select([
      [list.includes('*'), 'PERMISSION-WILDCARD', feature],
      [list.some((entry) => entry.startsWith('http:')), 'PERMISSION-HTTP', feature],
    ]),
  )
}

/** X-Frame-Options cannot list origins, so it must equal `frame-ancestors` or be relaxed. */
function lintFrameOptions(policy: Policy, enforced: CspDirectives | null): Found[] {
  const ancestors = enforced?.['frame-ancestors']?.join(' ')
  if (ancestors === undefined || 'x-frame-options' in policy.relax) return []
  const expected = policy.frameOptions === 'deny' ? "'none'" : "'self'"
  return ancestors === expected
    ? []
    : [['HEADER-FRAME-MISMATCH', `${policy.frameOptions} beside frame-ancestors ${ancestors}`]]
}
