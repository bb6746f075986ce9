/** What `app.mjs` reads: where the six plugins are, and keys that exist before a start. */
import { generateCipherKey } from '@parapet/kit'

/** The plugins of `app.mjs`: folders of `packages`. */
export const plugins = Object.freeze([
  'audit-log',
  'security-headers',
  'sessions',
  'rbac',
  'mfa',
  'field-encryption',
] as const)

/** The input of `app.mjs`; without `urls` it boots a bare app. */
export interface BootSettings {
  readonly urls?: Readonly<Record<string, string>>
  readonly secrets?: Readonly<Record<string, unknown>>
  /** Where the audit log writes. */
  readonly directory: string
}

/** Makes the input. @param urls from a plugin's name to the URL of its entry. */
export async function createBootSettings(
  urls: Readonly<Record<string, string>>,
  directory: string,
): Promise<BootSettings> {
  const { generateKey, generateSecret } = (await import(urls['sessions']!)) as {
    readonly generateKey: (passphrase: string, algorithm: string) => unknown
    readonly generateSecret: () => string
  }
  const { exportKeyset, generateKeyset } = (await import(urls['field-encryption']!)) as {
    readonly exportKeyset: (keyset: unknown) => string
    readonly generateKeyset: () => unknown
  }
  const secrets = {
    signingKey: generateKey('a passphrase', 'EdDSA'),
    sessions: generateSecret(),
    mfa: generateCipherKey(),
    keyset: exportKeyset(generateKeyset()),
  }
  return { urls, secrets, directory }
}
