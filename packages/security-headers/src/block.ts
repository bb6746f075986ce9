/** A policy made ready for the request path: names and values that are only copied. */
import { NONCE_PROBE, wantsNonce, withNonceProbe, withoutNonce, type CspDirectives } from './csp.ts'
import { serializePermissions } from './permissions.ts'
import type { Policy } from './policy.ts'

/** Options of @fastify/helmet; it checks them itself. */
export type HelmetSettings = Readonly<Record<string, unknown>>

/** Runs @fastify/helmet once and returns the headers that it sent, by name in lower case. */
export type HelmetRecorder = (settings: HelmetSettings) => Promise<Readonly<Record<string, string>>>

/** A header whose value holds the nonce of the reply: the parts around it. */
interface NoncedHeader {
  readonly name: string
  readonly parts: readonly string[]
}

/** One header, and who set it. */
export interface ExplainedHeader {
  readonly name: string
  readonly value: string
  /** The preset, option or route that says so, for instance `preset web + route GET /map`. */
  readonly setBy: string
}

/** What the request path needs of a policy. Frozen. */
export interface Block {
  readonly names: readonly string[]
  readonly values: readonly string[]
  /** Replaces the plain headers of the same name once a handler asks for the nonce. */
  readonly nonced: readonly NoncedHeader[]
  readonly cacheControl: Policy['cacheControl']
  readonly explained: readonly ExplainedHeader[]
}

const CSP = 'content-security-policy'
const CSP_REPORT_ONLY = 'content-security-policy-report-only'

/** The group of endpoints that reports go to. */
const REPORT_GROUP = 'default'

/** What an app that keeps replies out of every cache sends; OWASP's list has it in these words. */
export const NO_STORE = 'no-store, max-age=0'

/** The setting that decides a header. */
const SETTINGS: Readonly<Record<string, string>> = {
  [CSP]: 'csp',
  'cross-origin-embedder-policy': 'embedderPolicy',
  'cross-origin-opener-policy': 'openerPolicy',
  'cross-origin-resource-policy': 'resourcePolicy',
  'referrer-policy': 'referrerPolicy',
  'strict-transport-security': 'hsts',
  'x-frame-options': 'frameOptions',
  'permissions-policy': 'permissions',
  'integrity-policy': 'integrityPolicy',
  nel: 'networkErrorLogging',
  'report-to': 'networkErrorLogging',
  'cache-control': 'cacheControl',
}

/** Every header that a policy may carry, and that `relax` may leave out. */
export const policyHeaders: readonly string[] = Object.freeze([
  ...Object.keys(SETTINGS),
  CSP_REPORT_ONLY,
  'origin-agent-cluster',
  'reporting-endpoints',
  'x-content-type-options',
  'x-dns-prefetch-control',
  'x-permitted-cross-domain-policies',
])

/** The policies of a {@link Policy} as they are sent: without what `relax` leaves out. */
export function effectiveCsp(
  policy: Policy,
  reportPath: string | null,
): { readonly enforced: CspDirectives | null; readonly observed: CspDirectives | null } {
  const finish = (directives: CspDirectives | null) =>
    directives === null ? null : addReporting(withoutRelaxed(directives, policy), reportPath)
  const enforced = policy.reportOnly === null ? policy.csp : null
  const observed = policy.reportOnly === null ? policy.cspReportOnly : policy.csp
  return {
    enforced: CSP in policy.relax ? null : finish(enforced),
    observed: CSP_REPORT_ONLY in policy.relax ? null : finishObserved(finish(observed)),
  }
}

/** Browsers complain on the console of directives that only work when they are enforced. */
function finishObserved(directives: CspDirectives | null): CspDirectives | null {
  if (directives === null) return null
  const { sandbox: _sandbox, 'upgrade-insecure-requests': _upgrade, ...rest } = directives
  return rest
}

function withoutRelaxed(directives: CspDirectives, { relax }: Policy): CspDirectives {
  return Object.fromEntries(Object.entries(directives).filter(([name]) => !(name in relax)))
}

/**
 * `report-uri` alone: a browser that knows `report-to` ignores it once both are there, and then sends
 * late, in batches, and over http not at all.
 */
function addReporting(directives: CspDirectives, reportPath: string | null): CspDirectives {
  if (reportPath === null || 'report-to' in directives) return directives
  return { ...directives, 'report-uri': directives['report-uri'] ?? [reportPath] }
}

/**
 * Computes a policy once.
 *
 * @param reportPath where reports go; `null`: nowhere.
 * @throws what `record` throws: helmet refuses the policy.
 */
export async function compileBlock(
  policy: Policy,
  reportPath: string | null,
  record: HelmetRecorder,
): Promise<Block> {
  const { enforced, observed } = effectiveCsp(policy, reportPath)
  const plain: Record<string, string> = {
    ...(await record(helmetSettings(policy, enforced === null ? null : withoutNonce(enforced)))),
    ...(observed === null ? {} : await record(cspOnly(withoutNonce(observed), true))),
    ...ownHeaders(policy, reportPath),
  }
  const headers = Object.entries(plain).filter(([name]) => !(name in policy.relax))
  const nonced = [
    ...(await compileNonced(enforced, false, record)),
    ...(await compileNonced(observed, true, record)),
  ]
  return Object.freeze({
    names: Object.freeze(headers.map(([name]) => name)),
    values: Object.freeze(headers.map(([, value]) => value)),
    nonced: Object.freeze(nonced),
    cacheControl: policy.cacheControl,
    explained: Object.freeze(
      headers.map(([name, value]) => Object.freeze({ name, value, setBy: setterOf(name, policy) })),
    ),
  })
}

async function compileNonced(
  directives: CspDirectives | null,
  reportOnly: boolean,
  record: HelmetRecorder,
): Promise<NoncedHeader[]> {
  if (directives === null || !wantsNonce(directives)) return []
  const recorded = await record(cspOnly(withNonceProbe(directives), reportOnly))
  return Object.entries(recorded).map(([name, value]) =>
    Object.freeze({ name, parts: Object.freeze(value.split(NONCE_PROBE)) }),
  )
}

function setterOf(name: string, policy: Policy): string {
  if (name === CSP_REPORT_ONLY) {
    return policy.setBy[policy.reportOnly === null ? 'cspReportOnly' : 'reportOnly']!
  }
  if (name === 'reporting-endpoints') return 'option reports'
  return policy.setBy[SETTINGS[name] ?? 'preset']!
}

/** Helmet with nothing switched on. */
export const NOTHING: HelmetSettings = Object.freeze({
  contentSecurityPolicy: false,
  crossOriginEmbedderPolicy: false,
  crossOriginOpenerPolicy: false,
  crossOriginResourcePolicy: false,
  originAgentCluster: false,
  referrerPolicy: false,
  strictTransportSecurity: false,
  xContentTypeOptions: false,
  xDnsPrefetchControl: false,
  xDownloadOptions: false,
  xFrameOptions: false,
  xPermittedCrossDomainPolicies: false,
  xPoweredBy: false,
  xXssProtection: false,
})

function cspOnly(directives: CspDirectives, reportOnly: boolean): HelmetSettings {
  return { ...NOTHING, contentSecurityPolicy: { useDefaults: false, reportOnly, directives } }
}

/** What takes no options is on when it is not said to be off. */
function helmetSettings(policy: Policy, csp: CspDirectives | null): HelmetSettings {
  const { maxAgeSeconds, includeSubDomains, preload } = policy.hsts
  return {
    ...(csp === null ? NOTHING : cspOnly(csp, false)),
    crossOriginEmbedderPolicy: { policy: policy.embedderPolicy },
    crossOriginOpenerPolicy: { policy: policy.openerPolicy },
    crossOriginResourcePolicy: { policy: policy.resourcePolicy },
    originAgentCluster: policy.originAgentCluster ? undefined : false,
    referrerPolicy: { policy: policy.referrerPolicy },
    strictTransportSecurity: { maxAge: maxAgeSeconds, includeSubDomains, preload },
    xContentTypeOptions: undefined,
    xDnsPrefetchControl: { allow: false },
    xFrameOptions: { action: policy.frameOptions },
    xPermittedCrossDomainPolicies: { permittedPolicies: 'none' },
  }
}

/** What helmet does not know. */
function ownHeaders(policy: Policy, reportPath: string | null): Record<string, string> {
  const { integrityPolicy, networkErrorLogging: nel } = policy
  const endpoints = reportPath === null ? '' : `, endpoints=(${REPORT_GROUP})`
  return {
    'permissions-policy': serializePermissions(policy.permissions),
    ...(policy.cacheControl === 'no-store' ? { 'cache-control': NO_STORE } : {}),
    ...(integrityPolicy.length > 0
      ? { 'integrity-policy': `blocked-destinations=(${integrityPolicy.join(' ')})${endpoints}` }
      : {}),
    ...(reportPath === null
      ? {}
      : { 'reporting-endpoints': `${REPORT_GROUP}=${JSON.stringify(reportPath)}` }),
    ...(nel !== null && reportPath !== null
      ? {
          // NEL is older than Reporting-Endpoints and reads this header only.
          'report-to': JSON.stringify({
            group: REPORT_GROUP,
            max_age: nel.maxAgeSeconds,
            endpoints: [{ url: reportPath }],
          }),
          nel: JSON.stringify({
            report_to: REPORT_GROUP,
            max_age: nel.maxAgeSeconds,
            include_subdomains: nel.includeSubDomains,
          }),
        }
      : {}),
  }
}
