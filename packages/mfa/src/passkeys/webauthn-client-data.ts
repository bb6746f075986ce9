/** What WebAuthn registration and authentication share: the relying party and the client data. */
import type { RegistrationResponseJSON } from '@simplewebauthn/server'
import type { StoredPasskey } from '../account/account.ts'

/** The relying party. */
export interface RelyingParty {
  /** A domain: `example.org`. Passkeys are bound to it permanently. */
  readonly rpId: string
  readonly rpName: string
  /** The origins of the pages and Android apps that may use passkeys: `https://example.org`. */
  readonly origins: readonly string[]
  /** Origins of other sites that may embed such a page in a frame. Empty: none may. */
  readonly topOrigins: readonly string[]
  /** Whether every passkey must verify its user by a PIN or biometrics. A login always does. */
  readonly userVerification: 'required' | 'preferred'
}

/** How long a browser waits for its user, and how long a challenge is valid. */
export const CEREMONY_MS = 300_000
/** Base64url of at most 64 bytes. @see WebAuthn Level 3, section 5.4.3 */
const USER_HANDLE = /^[\w-]{0,86}$/

/** The challenge in a response, not verified yet; `null` if the response cannot be read. */
export function challengeOf(response: unknown): string | null {
  const challenge = readClientData(response)?.['challenge']
  return typeof challenge === 'string' ? challenge : null
}

/**
 * Whether the page was not in a frame of another site, or in a frame of an allowed one. The library
 * accepts a response from a frame whose top origin is missing.
 */
export function isFrameAllowed({ topOrigins }: RelyingParty, response: unknown): boolean {
  const clientData = readClientData(response)
  if (clientData === null) return false
  const { crossOrigin, topOrigin } = clientData
  if (crossOrigin === undefined || crossOrigin === false) return topOrigin === undefined
  return typeof topOrigin === 'string' && topOrigins.includes(topOrigin)
}

/**
 * Whether the optional members have a form that clients send. Native apps and older libraries write
 * `null` for an absent user handle or extension results, and `''` for an absent handle.
 */
export function hasKnownForm(credential: unknown): boolean {
  const { response, clientExtensionResults } = credential as {
    readonly response: { readonly userHandle?: unknown }
    readonly clientExtensionResults?: unknown
  }
  const handle = response.userHandle ?? ''
  return (
    typeof handle === 'string' &&
    USER_HANDLE.test(handle) &&
    typeof (clientExtensionResults ?? {}) === 'object' &&
    !Array.isArray(clientExtensionResults)
  )
}

/** Runs a verification of the library; `null` if it throws, because any fault means "not verified". */
export async function orNull<T>(verify: () => Promise<T>): Promise<T | null> {
  try {
    return await verify()
  } catch {
    return null
  }
}

/** Describes a passkey to the browser. */
export function toDescriptor({ id, transports }: StoredPasskey) {
  return { id, transports: [...transports] }
}

/** A copy with a buffer of its own, as the library's types require. */
export function bytesOf(base64url: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(Buffer.from(base64url, 'base64url'))
}

function readClientData(response: unknown): Record<string, unknown> | null {
  try {
    const text = (response as RegistrationResponseJSON).response.clientDataJSON
    const data: unknown = JSON.parse(Buffer.from(text, 'base64url').toString())
    return typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : null
  } catch {
    return null
  }
}
