/** Secrets in Vault's KV engine, version 2. @see https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2 */
import {
  PARAPET_SECRETS_CONFLICT,
  PARAPET_SECRETS_NOT_FOUND,
  PARAPET_SECRETS_PROVIDER_FAILED,
} from '../errors.ts'
import {
  pickMember,
  shareReads,
  splitPath,
  type ProvidedSecret,
  type ProviderFinding,
  type StoredRecord,
  type WritableProvider,
} from '../providers/provider.ts'
import { requireStatus, type VaultClient } from './vault-client.ts'
import { inspectVault } from './vault-inspection.ts'

/** What {@link createVaultKvProvider} takes besides the client. */
export interface VaultKvOptions {
  /** Where the engine is mounted. @default 'secret' */
  readonly mount?: string
}

/** What Vault knows about a secret. */
export interface VaultKvMetadata {
  readonly currentVersion: number
  readonly createdAt: number
  readonly updatedAt: number
  readonly casRequired: boolean
  readonly custom: Readonly<Record<string, string>>
}

/** The provider, and what only KV v2 has. */
export interface VaultKvProvider extends WritableProvider {
  readMetadata(path: string): Promise<VaultKvMetadata>
  /** Sets custom metadata, such as the owner; the other settings stay. */
  writeMetadata(path: string, custom: Readonly<Record<string, string>>): Promise<void>
}

/**
 * Makes the provider. A path is `app/database#password`; a secret with one member needs no `#`.
 * The member `expires_at` of the custom metadata (RFC 3339) is when the secret expires.
 */
export function createVaultKvProvider(
  client: VaultClient,
  { mount = 'secret' }: VaultKvOptions = {},
): VaultKvProvider {
  return new VaultKv(client, mount)
}

class VaultKv implements VaultKvProvider {
  readonly name = 'vault'
  readonly #client: VaultClient
  readonly #mount: string
  readonly #release: () => void
  /** All members of a record that are read at the same moment are of one version. */
  readonly #findShared = shareReads((place) => this.#find(place))

  constructor(client: VaultClient, mount: string) {
    this.#client = client
    this.#mount = mount
    this.#release = client.share()
  }

  async read(path: string): Promise<ProvidedSecret> {
    const found = await this.#findShared(splitPath(path).place)
    if (found === null) throw new PARAPET_SECRETS_NOT_FOUND(`${this.#mount}/${path}`)
    const { record, version, expiresAt } = found
    const value = pickMember(record, path)
    return { value, version, ...(expiresAt !== undefined && { expiresAt }) }
  }

  readRecord(path: string): Promise<StoredRecord | null> {
    return this.#find(path)
  }

  async #find(path: string): Promise<(StoredRecord & { readonly expiresAt?: number }) | null> {
    const url = this.#url('data', path)
    const answer = await this.#client.ask({ method: 'GET', path: url })
    // A deleted version answers 404, with its metadata.
    if (answer.status === 404) return null
    const { body } = requireStatus(answer, url, 200)
    const { data, metadata } = (body.data ?? {}) as {
      readonly data?: Readonly<Record<string, string>> | null
      readonly metadata?: KvVersion
    }
    if (data === null) return null
    if (typeof data !== 'object' || metadata?.version === undefined) {
      throw new PARAPET_SECRETS_PROVIDER_FAILED(
        'vault',
        `${url}: the answer is not of KV version 2`,
      )
    }
    const expiresAt = Date.parse(metadata.custom_metadata?.['expires_at'] ?? '')
    const expiry = Number.isFinite(expiresAt) ? { expiresAt } : undefined
    return { record: data, version: String(metadata.version), ...expiry }
  }

  async writeRecord(
    path: string,
    record: Readonly<Record<string, string>>,
    expected: string | null,
  ): Promise<string> {
    const url = this.#url('data', path)
    // The version of a deleted secret goes on, so "none" is the version that was deleted last.
    const cas = expected === null ? await this.#lastDeleted(path) : Number(expected)
    const body = { data: record, options: { cas } }
    const answer = await this.#client.ask({ method: 'POST', path: url, body })
    if (answer.status === 400 && /check-and-set/.test(answer.reason)) {
      throw new PARAPET_SECRETS_CONFLICT(url)
    }
    return String((requireStatus(answer, url, 200).body.data as KvVersion).version)
  }

  /** 0 means "none yet", which a living version is not. */
  async #lastDeleted(path: string): Promise<number> {
    const url = this.#url('metadata', path)
    const answer = await this.#client.ask({ method: 'GET', path: url })
    if (answer.status === 404) return 0
    const data = requireStatus(answer, url, 200).body.data as KvMetadata
    const last = data.versions?.[String(data.current_version)]
    const isDeleted = last === undefined || last.destroyed || last.deletion_time !== ''
    return isDeleted ? data.current_version : 0
  }

  async readMetadata(path: string): Promise<VaultKvMetadata> {
    const url = this.#url('metadata', path)
    const answer = await this.#client.ask({ method: 'GET', path: url })
    if (answer.status === 404) throw new PARAPET_SECRETS_NOT_FOUND(url)
    const data = requireStatus(answer, url, 200).body.data as KvMetadata
    return {
      currentVersion: data.current_version,
      createdAt: Date.parse(data.created_time),
      updatedAt: Date.parse(data.updated_time),
      casRequired: data.cas_required,
      custom: data.custom_metadata ?? {},
    }
  }

  async writeMetadata(path: string, custom: Readonly<Record<string, string>>): Promise<void> {
    const url = this.#url('metadata', path)
    const body = { custom_metadata: custom }
    const answer = await this.#client.ask({ method: 'POST', path: url, body })
    requireStatus(answer, url, 200, 204)
  }

  inspect(paths: readonly string[]): Promise<readonly ProviderFinding[]> {
    return inspectVault(
      this.#client,
      paths.map((path) => this.#url('data', path)),
    )
  }

  async close(): Promise<void> {
    this.#release()
  }

  #url(kind: 'data' | 'metadata', path: string): string {
    const { place } = splitPath(path)
    const parts = place.split('/')
    if (parts.some((part) => /^\.*$/.test(part) || /[?#]/.test(part))) {
      throw new PARAPET_SECRETS_PROVIDER_FAILED('vault', 'a path must be names joined by "/"')
    }
    return `${this.#mount}/${kind}/${parts.map(encodeURIComponent).join('/')}`
  }
}

interface KvVersion {
  readonly version: number
  readonly custom_metadata?: Readonly<Record<string, string>> | null
}

interface KvMetadata {
  readonly current_version: number
  readonly created_time: string
  readonly updated_time: string
  readonly cas_required: boolean
  readonly custom_metadata: Readonly<Record<string, string>> | null
  readonly versions?: Readonly<
    Record<string, { readonly deletion_time: string; readonly destroyed: boolean }>
  >
}
