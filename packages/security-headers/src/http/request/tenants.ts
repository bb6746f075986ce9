/** Finds the block of a request's tenant. */
import type { SecurityEvents } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import type { Block } from '../../headers/block.ts'
import type { RouteEntry } from '../../headers/route-entry.ts'
import type { TenantsSettings } from '../../tenants/options.ts'
import { TenantBlocks, type TenantServices } from '../../tenants/tenant-blocks.ts'

const kBlock = Symbol('@parapet/security-headers:tenant-block')
type TenantRequest = FastifyRequest & { [kBlock]?: Block }

/** A longer name is no tenant: hosts have at most 253 characters. */
const MAX_NAME_LENGTH = 255

/** The blocks of tenants, as the hooks use them. */
export interface Tenants {
  /** Finds the block of the request. @returns a promise if the block has to be compiled first. */
  readonly prepare: (request: FastifyRequest, entry: RouteEntry) => Promise<void> | undefined
  /** The block that {@link prepare} found. */
  readonly blockOf: (request: FastifyRequest) => Block | undefined
}

/** @param settings the option `tenants`. */
export function createTenants(
  settings: TenantsSettings<FastifyRequest>,
  services: TenantServices,
): Tenants {
  const blocks = new TenantBlocks(settings, services)
  const tenantOf = (request: FastifyRequest): string | null => {
    try {
      const tenant = settings.of(request)
      return typeof tenant === 'string' && tenant.length <= MAX_NAME_LENGTH ? tenant : null
    } catch {
      services.report('', 'failed')
      return null
    }
  }
  return {
    prepare(request: TenantRequest, entry) {
      const tenant = tenantOf(request)
      if (tenant === null) return undefined
      const found = blocks.get(tenant, entry)
      if (!(found instanceof Promise)) {
        request[kBlock] = found
        return undefined
      }
      return found.then((block) => void (request[kBlock] = block))
    },
    blockOf: (request: TenantRequest) => request[kBlock],
  }
}

/** Bounds the number of events: a tenant may be any host that a client sends. */
const MAX_REPORTED = 1000

/** Emits an event, once for each tenant and reason. */
export function createTenantReport(securityEvents: SecurityEvents): TenantServices['report'] {
  const reported = new Set<string>()
  return (tenant, reason) => {
    const key = `${reason} ${tenant}`
    if (reported.has(key) || reported.size >= MAX_REPORTED) return
    reported.add(key)
    securityEvents.emit('security_headers.tenant_refused', { details: { tenant, reason } })
  }
}
