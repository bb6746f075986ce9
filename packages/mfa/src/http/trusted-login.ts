/** What a login has proved by itself, according to the option `trustLogin`. */
import type { Principal } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { PARAPET_MFA_INVALID_ARGUMENT } from '../errors.ts'
import type { SessionProof } from '../proofs/session-proofs.ts'

/**
 * Says what the login of a caller has proved by itself: `'aal2'` two factors, `'phr'` a
 * phishing-resistant factor among them, `null` nothing that is trusted.
 */
export type TrustLogin = (principal: Principal, request: FastifyRequest) => 'aal2' | 'phr' | null

/** Reads the proof of a login; `null`: none. A login without a time has no age and proves nothing. */
export function createTrustedLogin(
  trustLogin: TrustLogin | undefined,
): (principal: Principal, request: FastifyRequest) => SessionProof | null {
  if (trustLogin === undefined) return () => null
  return (principal, request) => {
    const acr: unknown = trustLogin(principal, request)
    if (acr !== null && acr !== 'aal2' && acr !== 'phr') {
      throw new PARAPET_MFA_INVALID_ARGUMENT(
        `the option "trustLogin" must return 'aal2', 'phr' or null, got ${typeof acr}`,
      )
    }
    const { authenticatedAt: provedAt } = principal
    if (acr === null || provedAt === undefined) return null
    return { method: 'login', aal: 2, phishingResistant: acr === 'phr', provedAt }
  }
}
