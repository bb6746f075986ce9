/**
 * A provider over the Transit engine of HashiCorp Vault or OpenBao, by HTTP.
 *
 * @see https://developer.hashicorp.com/vault/api-docs/secret/transit
 */
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
} from '../errors.ts'
import { encodeKeyContext, probe, type KeyProvider } from './provider.ts'

/** The options of {@link createVaultProvider}. */
export interface VaultProviderOptions {
  /** `https://vault.example:8200`. Plain `http` is accepted for the loopback interface only. */
  readonly address: string
  /** Name of the Transit key. Its type must support associated data, as `aes256-gcm96` does. */
  readonly key: string
  /** The token, or a function that returns it, called before each request. */
  readonly token: string | (() => string | Promise<string>)
  /** Path where the engine is mounted. @default 'transit' */
  readonly mount?: string
  readonly namespace?: string
  /** Timeout of one request, in milliseconds. @default 5000 */
  readonly timeoutMs?: number
}

const NAME = /^[\w-][\w.-]*$/

/**
 * Creates the provider. The root key never leaves Vault; Vault wraps and unwraps.
 *
 * @throws PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT the address or a name is invalid.
 */
export function createVaultProvider(options: VaultProviderOptions): KeyProvider {
  const { key, mount = 'transit' } = options
  const base = readAddress(options.address)
  if (!NAME.test(key) || !mount.split('/').every((part) => NAME.test(part))) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      '"key" and "mount" of the Vault provider',
      `may have letters, digits, ".", "_" and "-" only, got "${key}" and "${mount}"`,
    )
  }
  const call = (path: string, body: object) =>
    callVault(new URL(`/v1/${mount}/${path}`, base), options, body)
  const provider: KeyProvider = {
    async wrap(dataKey, context) {
      const { ciphertext } = await call(`encrypt/${key}`, {
        plaintext: Buffer.from(dataKey).toString('base64'),
        associated_data: encodeKeyContext(context).toString('base64'),
      })
      return Buffer.from(requireText(ciphertext))
    },
    async unwrap(wrapped, context) {
      const { plaintext } = await call(`decrypt/${key}`, {
        ciphertext: Buffer.from(wrapped).toString(),
        associated_data: encodeKeyContext(context).toString('base64'),
      })
      return Buffer.from(requireText(plaintext), 'base64')
    },
    describe: () => ({ id: `vault:${mount}/${key}`, exportable: false }),
    // Not GET keys/<name>: a policy for encryption alone has no `read` on it.
    health: () => probe(provider),
  }
  return provider
}

interface VaultData {
  readonly ciphertext?: unknown
  readonly plaintext?: unknown
}

async function callVault(
  url: URL,
  { token, namespace, timeoutMs = 5000 }: VaultProviderOptions,
  body: object,
): Promise<VaultData> {
  const response = await fetch(url, {
    method: 'POST',
    headers: {
      'x-vault-token': typeof token === 'string' ? token : await token(),
      ...(namespace === undefined ? undefined : { 'x-vault-namespace': namespace }),
      'content-type': 'application/json',
    },
    body: JSON.stringify(body),
    // A redirect would send the token to another host.
    redirect: 'error',
    signal: AbortSignal.timeout(timeoutMs),
  })
  // The body of an error response may quote the request, so it is not read.
  if (!response.ok) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  return ((await response.json()) as { readonly data?: VaultData }).data ?? {}
}

function requireText(value: unknown): string {
  if (typeof value !== 'string') throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  return value
}

function readAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const isLoopback =
    url !== undefined && /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && isLoopback)) return url
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    '"address" of the Vault provider',
    'must be an https URL; http is accepted for the loopback interface only',
  )
}
