/** What WebAuthn registration and authentication share: the relying party and the client data. */
import type { RegistrationResponseJSON } from '@simplewebauthn/server'
import type { Passkey } from '../account/account.ts'

/** The relying party. */
export interface RelyingParty {
  /** A domain: `example.org`. Passkeys are bound to it permanently. */
  readonly rpId: string
  readonly rpName: string
  /** The origins of the pages that may use passkeys: `https://example.org`. */
  readonly origins: readonly string[]
  /** Origins of other sites that may embed such a page in a frame. Empty: none may. */
  readonly topOrigins: readonly string[]
}

/** How long a browser waits for its user, and how long a challenge is valid. */
export const CEREMONY_MS = 300_000

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

/** Runs a verification of the library; `null` if it throws, because any fault means "not verified". */
export async function orNull<T>(verify: () => Promise<T>): Promise<T | null> {
  try {
    return await verify()
  } catch {
    return null
  }
}

/** Describes a passkey to the browser. */
export function toDescriptor({ id, transports }: Passkey) {
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
