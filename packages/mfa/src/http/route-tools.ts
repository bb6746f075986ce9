/** What the handlers of all routes share. */
import type { Principal } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { PARAPET_MFA_LOGIN_REQUIRED } from '../errors.ts'
import type { Origin } from '../factors/context.ts'
import { loginMethods, type MfaProof } from '../proofs/proof.ts'
import type { Mfa } from '../service/mfa.ts'
import { compileRequirement } from '../step-up/rules.ts'
import type { StepUp } from './step-up.ts'

/** What the routes need. */
export interface RouteParts {
  readonly mfa: Mfa
  readonly stepUp: StepUp
  readonly principalOf: (request: FastifyRequest) => Principal | null
  readonly accountName: (request: FastifyRequest) => string
  readonly adminRoles: readonly string[]
  readonly manageMaxAgeSeconds: number
  readonly deviceMaxAgeSeconds: number
  readonly hasPasskeys: boolean
  /** Starts a session after a login with a passkey alone; its result is the response. */
  readonly signIn:
    | ((proof: MfaProof, request: FastifyRequest, reply: FastifyReply) => Promise<object>)
    | undefined
}

/** The parts, and functions for handlers. */
export interface RouteTools extends RouteParts {
  /** Returns the caller. @throws PARAPET_MFA_LOGIN_REQUIRED */
  readonly requireCaller: (request: FastifyRequest) => Principal
  /** Requires a proof not older than `manageMaxAgeSeconds`. @throws PARAPET_MFA_STEP_UP_REQUIRED */
  readonly requireFresh: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
  /** Returns the caller, who may change factors: with a recent proof, or without any factor yet. */
  readonly requireManager: (request: FastifyRequest, reply: FastifyReply) => Promise<Principal>
  readonly originOf: (request: FastifyRequest) => Origin
  /** Lets the caller's session use a proof. @returns the proof for the response. */
  readonly assure: (request: FastifyRequest, proof: MfaProof) => Promise<ProofView>
}

/** What a client sees of a proof. */
type ProofView = Pick<MfaProof, 'method' | 'aal' | 'amr' | 'provedAt'>

/** Creates the functions. */
export function createTools(parts: RouteParts): RouteTools {
  const { mfa, stepUp, principalOf } = parts
  const fresh = compileRequirement({ maxAgeSeconds: parts.manageMaxAgeSeconds }, null)
  const requireCaller = (request: FastifyRequest): Principal => {
    const principal = principalOf(request)
    if (principal === null) throw new PARAPET_MFA_LOGIN_REQUIRED()
    return principal
  }
  const requireFresh = (request: FastifyRequest, reply: FastifyReply): Promise<void> =>
    stepUp.require(request, reply, stepUp.withRoles(request, fresh))
  return {
    ...parts,
    requireCaller,
    requireFresh,
    async requireManager(request, reply) {
      const caller = requireCaller(request)
      const { enrolled, passkeys } = await mfa.status(caller.id)
      if (!enrolled) return caller
      const rule = stepUp.withRoles(request, fresh)
      // A user who must have a passkey and has none yet may enrol it with another factor.
      const phishingResistant = rule.phishingResistant && passkeys.length > 0
      await stepUp.require(request, reply, { ...rule, phishingResistant })
      return caller
    },
    originOf: (request) => ({ ip: request.ip, amr: loginMethods(principalOf(request)), request }),
    async assure(request, proof) {
      const { sessionId } = requireCaller(request)
      if (sessionId !== undefined) await mfa.assure(proof, sessionId)
      const { method, aal, amr, provedAt } = proof
      return { method, aal, amr, provedAt }
    },
  }
}
