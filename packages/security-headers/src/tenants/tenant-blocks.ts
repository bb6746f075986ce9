/** Compiles and keeps the blocks of tenants, bounded. */
import { withDeadline, type Clock } from '@parapet/kit'
import type { CspDirectives } from '../csp/directives.ts'
import type { Block } from '../headers/block.ts'
import type { RouteEntry } from '../headers/route-entry.ts'
import type { TenantsSettings } from './options.ts'

/** Why a tenant gets the policy of the route. */
type TenantFault = 'failed' | 'late' | 'unsafe'

/** What {@link TenantBlocks} needs. */
export interface TenantServices {
  readonly clock: Clock
  /** @throws Error the directives are invalid, or the policy is unsafe. */
  readonly compile: (entry: RouteEntry, csp: CspDirectives) => Block
  readonly report: (tenant: string, fault: TenantFault) => void
}

type TenantLimits = Omit<TenantsSettings<never>, 'of'>

interface Kept {
  readonly block: Block
  readonly until: number
}

/** After a fault, `csp` is called again this soon. */
const RETRY_MS = 10_000

/** The blocks of tenants, by the block of the route. */
export class TenantBlocks {
  readonly #settings: TenantLimits
  readonly #services: TenantServices
  /** In the order of use: the first tenant is removed first. */
  readonly #kept = new WeakMap<Block, Map<string, Kept>>()
  readonly #loading = new WeakMap<Block, Map<string, Promise<Block>>>()

  constructor(settings: TenantLimits, services: TenantServices) {
    this.#settings = settings
    this.#services = services
  }

  /** @returns a promise, which never rejects, if the block has to be compiled first. */
  get(tenant: string, entry: RouteEntry): Block | Promise<Block> {
    const kept = this.#kept.get(entry.block)
    const found = kept?.get(tenant)
    if (kept === undefined || found === undefined || found.until <= this.#services.clock.now()) {
      return this.#loadOnce(tenant, entry)
    }
    kept.delete(tenant)
    kept.set(tenant, found)
    return found.block
  }

  /** Simultaneous requests of a tenant share one call. */
  #loadOnce(tenant: string, entry: RouteEntry): Promise<Block> {
    const loading = this.#loading.get(entry.block) ?? new Map<string, Promise<Block>>()
    this.#loading.set(entry.block, loading)
    let pending = loading.get(tenant)
    if (pending === undefined) {
      pending = this.#load(tenant, entry).finally(() => loading.delete(tenant))
      loading.set(tenant, pending)
    }
    return pending
  }

  async #load(tenant: string, entry: RouteEntry): Promise<Block> {
    const { maxAgeMs } = this.#settings
    let fault: TenantFault = 'failed'
    try {
      const csp = await this.#ask(tenant, () => (fault = 'late'))
      fault = 'unsafe'
      const block = csp === null ? entry.block : this.#services.compile(entry, csp)
      return this.#keep(tenant, entry, block, maxAgeMs)
    } catch {
      this.#services.report(tenant, fault)
      return this.#keep(tenant, entry, entry.block, Math.min(maxAgeMs, RETRY_MS))
    }
  }

  #ask(tenant: string, onLate: () => void): Promise<CspDirectives | null> {
    const { csp, deadlineMs } = this.#settings
    const late = (): Error => {
      onLate()
      return new Error('late')
    }
    const answer = (async () => csp(tenant))()
    return withDeadline(answer, deadlineMs, late, this.#services.clock)
  }

  #keep(tenant: string, entry: RouteEntry, block: Block, maxAgeMs: number): Block {
    const kept = this.#kept.get(entry.block) ?? new Map<string, Kept>()
    this.#kept.set(entry.block, kept)
    kept.delete(tenant)
    kept.set(tenant, { block, until: this.#services.clock.now() + maxAgeMs })
    const [oldest] = kept.keys()
    if (kept.size > this.#settings.maxTenants && oldest !== undefined) kept.delete(oldest)
    return block
  }
}
