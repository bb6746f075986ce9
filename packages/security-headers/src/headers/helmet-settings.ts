/** Translates a policy into the options of @fastify/helmet. */
import type { CspDirectives } from '../csp/directives.ts'
import type { Policy } from '../policy/policy.ts'

/** Options of @fastify/helmet, which validates them itself. */
export type HelmetSettings = Readonly<Record<string, unknown>>

/** Runs @fastify/helmet once and returns the headers that it sent, by lower-case name. */
export type HelmetRecorder = (settings: HelmetSettings) => Promise<Readonly<Record<string, string>>>

/** Helmet with every header switched off. */
export const helmetOff: HelmetSettings = Object.freeze({
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

/** Only the header of one Content-Security-Policy. */
export function cspOnly(directives: CspDirectives, reportOnly: boolean): HelmetSettings {
  return { ...helmetOff, contentSecurityPolicy: { useDefaults: false, reportOnly, directives } }
}

/** Every header of a policy that helmet can compute. @param csp the enforced policy, or `null`. */
export function helmetSettings(policy: Policy, csp: CspDirectives | null): HelmetSettings {
  const { maxAgeSeconds, includeSubDomains, preload } = policy.hsts
  return {
    ...(csp === null ? helmetOff : cspOnly(csp, false)),
    crossOriginEmbedderPolicy: { policy: policy.embedderPolicy },
    crossOriginOpenerPolicy: { policy: policy.openerPolicy },
    crossOriginResourcePolicy: { policy: policy.resourcePolicy },
    // Helmet sends a header without options when the setting is `undefined`.
    originAgentCluster: policy.originAgentCluster ? undefined : false,
    referrerPolicy: { policy: policy.referrerPolicy },
    strictTransportSecurity: { maxAge: maxAgeSeconds, includeSubDomains, preload },
    xContentTypeOptions: undefined,
    xDnsPrefetchControl: { allow: false },
    xFrameOptions: { action: policy.frameOptions },
    xPermittedCrossDomainPolicies: { permittedPolicies: 'none' },
  }
}
