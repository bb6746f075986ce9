/** Database accounts that Vault makes for this process. @see https://developer.hashicorp.com/vault/api-docs/secret/databases */
import { PARAPET_SECRETS_NOT_FOUND, PARAPET_SECRETS_PROVIDER_FAILED } from '../errors.ts'
import type { ProvidedSecret, SecretsProvider } from '../providers/provider.ts'
import { requireStatus, type VaultClient } from './vault-client.ts'
import { inspectVault } from './vault-inspection.ts'

/** What {@link createVaultDatabaseProvider} takes besides the client. */
export interface VaultDatabaseOptions {
  /** Where the engine is mounted. @default 'database' */
  readonly mount?: string
}

interface Lease {
  readonly id: string
  readonly record: Readonly<Record<string, string>>
  /** Replaced when half of its last time has passed without a renewal. */
  expiresAt: number
  /** Which token made it, by number. */
  readonly tokens: number
  cancel: () => void
  isEnding: boolean
}

/** A lease is renewed when a third of its time is left. */
const RENEW_RATIO = 2 / 3
/** A lease that is renewed for less than this share of its first time nears its maximum. */
const SHORT_RATIO = 0.5

/**
 * Makes the provider. A path is the name of a role: `app` gives `{"username":…,"password":…}` as JSON,
 * `app#username` and `app#password` its members. All of them share one lease, which is renewed until
 * Vault's maximum nears, or the token that made it is replaced; then a new account is made, and the former
 * one works until its own lease ends. `close` revokes the leases.
 */
export function createVaultDatabaseProvider(
  client: VaultClient,
  { mount = 'database' }: VaultDatabaseOptions = {},
): SecretsProvider {
  return new VaultDatabase(client, mount)
}

class VaultDatabase implements SecretsProvider {
  readonly name = 'vault-database'
  readonly #client: VaultClient
  readonly #mount: string
  readonly #leases = new Map<string, Promise<Lease>>()
  /** Leases that were replaced, and end by themselves. */
  readonly #former = new Set<string>()
  readonly #listeners = new Set<() => void>()
  readonly #release: () => void
  readonly #stopListening: () => void
  /** Counts the tokens: Vault revokes the accounts of a token that ends. */
  #tokens = 0

  constructor(client: VaultClient, mount: string) {
    this.#client = client
    this.#mount = mount
    this.#release = client.share()
    this.#stopListening = client.onNewToken(() => {
      this.#tokens++
      this.#tell()
    })
  }

  async read(path: string): Promise<ProvidedSecret> {
    const at = path.lastIndexOf('#')
    const [role, member] = at < 0 ? [path, undefined] : [path.slice(0, at), path.slice(at + 1)]
    let opening = this.#leaseOf(role)
    let lease = await opening
    if (this.#isEnding(lease)) {
      // Concurrent reads share one new lease.
      if (this.#leases.get(role) === opening) {
        this.#former.add(lease.id)
        lease.cancel()
        this.#leases.delete(role)
      }
      opening = this.#leaseOf(role)
      lease = await opening
    }
    const value = member === undefined ? JSON.stringify(lease.record) : lease.record[member]
    if (value === undefined) throw new PARAPET_SECRETS_NOT_FOUND(`${this.#mount}/${path}`)
    return { value, version: lease.id, expiresAt: lease.expiresAt }
  }

  #isEnding({ isEnding, expiresAt, tokens }: Lease): boolean {
    return isEnding || tokens !== this.#tokens || expiresAt <= this.#client.clock.now()
  }

  #leaseOf(role: string): Promise<Lease> {
    const known = this.#leases.get(role)
    if (known !== undefined) return known
    const opening = this.#open(role).catch((error: unknown) => {
      this.#leases.delete(role)
      throw error
    })
    this.#leases.set(role, opening)
    return opening
  }

  async #open(role: string): Promise<Lease> {
    const path = `${this.#mount}/creds/${encodeURIComponent(role)}`
    const { body } = requireStatus(await this.#client.ask({ method: 'GET', path }), path, 200)
    if (typeof body.lease_id !== 'string' || !isRecord(body.data)) {
      throw new PARAPET_SECRETS_PROVIDER_FAILED(this.name, `${path}: the answer is not an account`)
    }
    const seconds = body.lease_duration ?? 0
    const lease: Lease = {
      id: body.lease_id,
      record: body.data,
      // The request itself may have logged in.
      tokens: this.#tokens,
      expiresAt: this.#client.clock.now() + seconds * 1000,
      cancel: () => {},
      isEnding: false,
    }
    this.#schedule(lease, seconds, { isRenewable: body.renewable === true, firstSeconds: seconds })
    return lease
  }

  #schedule(
    lease: Lease,
    seconds: number,
    terms: { readonly isRenewable: boolean; readonly firstSeconds: number },
  ): void {
    lease.cancel = this.#client.clock.schedule(seconds * 1000 * RENEW_RATIO, () => {
      this.#renew(lease, terms).catch(this.#client.onError)
    })
  }

  async #renew(
    lease: Lease,
    terms: { readonly isRenewable: boolean; readonly firstSeconds: number },
  ): Promise<void> {
    const request = {
      method: 'PUT',
      path: 'sys/leases/renew',
      body: { lease_id: lease.id, increment: terms.firstSeconds },
    } as const
    const answer = terms.isRenewable ? await this.#client.ask(request).catch(() => null) : null
    const seconds = answer?.status === 200 ? (answer.body.lease_duration ?? 0) : 0
    if (seconds > 0) lease.expiresAt = this.#client.clock.now() + seconds * 1000
    if (seconds >= terms.firstSeconds * SHORT_RATIO) {
      this.#schedule(lease, seconds, terms)
      return
    }
    // The next read opens a new lease, while the account of this one still works.
    lease.isEnding = true
    this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }

  watch(onChange: () => void): () => void {
    this.#listeners.add(onChange)
    return () => void this.#listeners.delete(onChange)
  }

  inspect(paths: readonly string[]) {
    const roles = paths.map((path) => path.split('#', 1)[0]!)
    return inspectVault(
      this.#client,
      [...new Set(roles)].map((role) => `${this.#mount}/creds/${role}`),
    )
  }

  async close(): Promise<void> {
    const leases = await Promise.allSettled(this.#leases.values())
    const ids = new Set(this.#former)
    for (const lease of leases) {
      if (lease.status !== 'fulfilled') continue
      lease.value.cancel()
      ids.add(lease.value.id)
    }
    for (const id of ids) {
      const body = { lease_id: id }
      // The account ends with its lease in any case.
      await this.#client.ask({ method: 'PUT', path: 'sys/leases/revoke', body }).catch(() => {})
    }
    this.#stopListening()
    this.#release()
  }
}

function isRecord(data: unknown): data is Lease['record'] {
  return (
    typeof data === 'object' &&
    data !== null &&
    Object.values(data).every((value) => typeof value === 'string')
  )
}
