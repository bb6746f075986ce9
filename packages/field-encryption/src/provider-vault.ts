/**
 * Vault's Transit engine, or OpenBao's, over HTTP.
 *
 * @see https://developer.hashicorp.com/vault/api-docs/secret/transit
 */
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE,
} from './errors.ts'
import { bind, type KeyProvider } from './provider.ts'

/** What {@link createVaultProvider} takes. */
export interface VaultProviderOptions {
  /** `https://vault.example:8200`. Plain `http` is taken for the loopback only. */
  readonly address: string
  /** Name of the Transit key; its type must take associated data, as `aes256-gcm96` does. */
  readonly key: string
  /** The token, or what fetches one: it is asked before each call. */
  readonly token: string | (() => string | Promise<string>)
  /** Where the engine is mounted. @default 'transit' */
  readonly mount?: string
  readonly namespace?: string
  /** How long one call may take, in milliseconds. @default 5000 */
  readonly timeoutMs?: number
}

const NAME = /^[\w-][\w.-]*$/

/** Makes the provider. The root key stays in Vault, and so does every use of it. */
export function createVaultProvider(options: VaultProviderOptions): KeyProvider {
  const { key, token, mount = 'transit', namespace, timeoutMs = 5000 } = options
  const base = readAddress(options.address)
  if (!NAME.test(key) || !mount.split('/').every((part) => NAME.test(part))) {
    throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
      'the name of the key or the mount',
      'must be letters, digits, ".", "_" and "-"',
    )
  }

  async function call(path: string, body?: object): Promise<Record<string, unknown>> {
    const given = typeof token === 'string' ? token : await token()
    const response = await fetch(new URL(`/v1/${mount}/${path}`, base), {
      method: body === undefined ? 'GET' : 'POST',
      headers: {
        'x-vault-token': given,
        ...(namespace === undefined ? undefined : { 'x-vault-namespace': namespace }),
        ...(body === undefined ? undefined : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? undefined : { body: JSON.stringify(body) }),
      // A redirect would carry the token elsewhere.
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
    // The body of a refusal may tell of the request; its status is enough.
    if (!response.ok) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
    const { data } = (await response.json()) as { readonly data?: Record<string, unknown> }
    return data ?? {}
  }

  return {
    async wrap(dataKey, context) {
      const plaintext = Buffer.from(dataKey).toString('base64')
      const sealed = { plaintext, associated_data: bind(context).toString('base64') }
      return Buffer.from(textOf((await call(`encrypt/${key}`, sealed))['ciphertext']))
    },
    async unwrap(wrapped, context) {
      const ciphertext = Buffer.from(wrapped).toString()
      const sealed = { ciphertext, associated_data: bind(context).toString('base64') }
      return Buffer.from(textOf((await call(`decrypt/${key}`, sealed))['plaintext']), 'base64')
    },
    describe: () => ({ id: `vault:${mount}/${key}`, exportable: false }),
    health: async () => void (await call(`keys/${key}`)),
  }
}

function textOf(value: unknown): string {
  if (typeof value !== 'string') throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  return value
}

function readAddress(address: string): URL {
  const url = URL.canParse(address) ? new URL(address) : undefined
  const loopback =
    url !== undefined && /^(?:localhost|127\.\d+\.\d+\.\d+|\[::1\])$/.test(url.hostname)
  if (url?.protocol === 'https:' || (url?.protocol === 'http:' && loopback)) return url
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(
    'the address of Vault',
    'must be an https URL; http is taken for the loopback only',
  )
}
