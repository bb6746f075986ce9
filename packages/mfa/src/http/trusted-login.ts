/** What a login has proved by itself, according to the option `trustLogin`. */
import type { Principal } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { PARAPET_MFA_INVALID_ARGUMENT } from '../errors.ts'
import type { TrustLogin } from '../options.ts'
import type { SessionProof } from '../proofs/session-proofs.ts'

/** Reads the proof of a login; `null`: none. A login without a time has no age and proves nothing. */
export function createTrustedLogin(
  trustLogin: TrustLogin | undefined,
): (principal: Principal, request: FastifyRequest) => SessionProof | null {
  if (trustLogin === undefined) return () => null
  return (principal, request) => {
    const acr: unknown = trustLogin(principal, request) ?? null
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
