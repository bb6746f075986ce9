/** The option `tenants`. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'
import type { CspDirectives } from '../csp/directives.ts'

/** Content-Security-Policy by tenant. */
export interface TenantsOptions<Request> {
  /** The tenant of a request, for instance by its host; `null`: none. It runs before any login. */
  readonly of: (request: Request) => string | null
  /** The directives of a tenant, which replace those of the route; `null`: it has none. */
  readonly csp: (tenant: string) => CspDirectives | null | Promise<CspDirectives | null>
  /** Tenants whose policies are kept for each policy of a route. @default 1000 */
  readonly maxTenants?: number
  /** How long a policy is kept before `csp` is called again. @default 300 000, five minutes */
  readonly maxAgeMs?: number
  /** How long a request waits for `csp`. After that it gets the policy of its route. @default 1000 */
  readonly deadlineMs?: number
}

/** The option `tenants` with every default filled in. */
export type TenantsSettings<Request> = Required<TenantsOptions<Request>>

/** Creates the reader of the option `tenants`. */
export function tenantsReader<Request>(): OptionReader<TenantsSettings<Request>> {
  return optionGroup({
    of: option.callback<TenantsOptions<Request>['of']>(),
    csp: option.callback<TenantsOptions<Request>['csp']>(),
    maxTenants: option.integer({ min: 1, max: 100_000, default: 1000 }),
    maxAgeMs: option.milliseconds({ max: 86_400_000, default: 300_000 }),
    deadlineMs: option.milliseconds({ max: 60_000, default: 1000 }),
  })
}
