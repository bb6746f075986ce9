/** What the handlers of all routes share. */
import type { Principal } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Origin } from './core.ts'
import { PARAPET_MFA_LOGIN_REQUIRED } from './errors.ts'
import type { Mfa } from './mfa.ts'
import type { SignIn } from './options.ts'
import { provedBefore, type MfaProof } from './proof.ts'
import type { StepUp } from './step-up-hooks.ts'
import { compileRequirement } from './step-up.ts'

/** What the routes stand on. */
export interface RouteParts {
  readonly mfa: Mfa
  readonly stepUp: StepUp
  readonly principalOf: (request: FastifyRequest) => Principal | null
  readonly accountName: (request: FastifyRequest) => string
  readonly adminRoles: readonly string[]
  readonly manageMaxAgeSeconds: number
  readonly deviceMaxAgeSeconds: number
  readonly hasPasskeys: boolean
  readonly signIn: SignIn | undefined
}

/** The parts, and what handlers ask of a request. */
export interface RouteTools extends RouteParts {
  /** The caller. @throws PARAPET_MFA_LOGIN_REQUIRED */
  readonly requireCaller: (request: FastifyRequest) => Principal
  /** Refuses a session whose proof is older than changing factors allows. */
  readonly requireFresh: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
  /** The caller, who has just proved a factor or has none yet. */
  readonly requireManager: (request: FastifyRequest, reply: FastifyReply) => Promise<Principal>
  readonly originOf: (request: FastifyRequest) => Origin
  /** Lets the caller's session use a proof. @returns the proof as it is answered. */
  readonly assure: (request: FastifyRequest, proof: MfaProof) => Promise<ProofView>
}

/** A proof as the client sees it. */
type ProofView = Pick<MfaProof, 'method' | 'aal' | 'amr' | 'provedAt'>

/** Makes them. */
export function createTools(parts: RouteParts): RouteTools {
  const { mfa, stepUp, principalOf } = parts
  const fresh = compileRequirement({ maxAgeSeconds: parts.manageMaxAgeSeconds }, null)
  const requireCaller = (request: FastifyRequest): Principal => {
    const principal = principalOf(request)
    if (principal === null) throw new PARAPET_MFA_LOGIN_REQUIRED()
    return principal
  }
  const requireFresh = (request: FastifyRequest, reply: FastifyReply): Promise<void> =>
    stepUp.decide(request, reply, stepUp.withRoles(request, fresh))
  return {
    ...parts,
    requireCaller,
    requireFresh,
    async requireManager(request, reply) {
      const caller = requireCaller(request)
      const { enrolled, passkeys } = await mfa.status(caller.id)
      if (!enrolled) return caller
      const rule = stepUp.withRoles(request, fresh)
      // Who must have a passkey and has none yet may enrol one by what there is.
      const phishingResistant = rule.phishingResistant && passkeys.length > 0
      await stepUp.decide(request, reply, { ...rule, phishingResistant })
      return caller
    },
    originOf: (request) => ({ ip: request.ip, amr: provedBefore(principalOf(request)), request }),
    async assure(request, proof) {
      const { sessionId } = requireCaller(request)
      if (sessionId !== undefined) await mfa.assure(proof, sessionId)
      const { method, aal, amr, provedAt } = proof
      return { method, aal, amr, provedAt }
    },
  }
}
