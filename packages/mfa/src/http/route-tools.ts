/** What the handlers of all routes share. */
import type { Principal, usePrincipal } from '@parapet/kit'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { PARAPET_MFA_IMPERSONATED, PARAPET_MFA_LOGIN_REQUIRED } from '../errors.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import type { AccountName, Elevate, SignIn } from '../options.ts'
import { loginMethods, type MfaProof } from '../proofs/proof.ts'
import { renewSession } from '../service/assure.ts'
import type { CallPort } from '../service/call-port.ts'
import type { Mfa } from '../service/mfa.ts'
import { compileRequirement } from '../step-up/rules.ts'
import { challenge, type RequireRecentLogin } from './recent-login.ts'
import type { StepUp } from './step-up.ts'

/** What the routes need. */
export interface RouteParts {
  readonly mfa: Mfa
  readonly factors: FactorContext
  readonly stepUp: StepUp
  readonly callPort: CallPort
  readonly principalOf: ReturnType<typeof usePrincipal>
  /** The option; without it an account has the name of the principal's id. */
  readonly accountName: AccountName | undefined
  readonly adminRoles: readonly string[]
  readonly manageMaxAgeSeconds: number
  readonly deviceMaxAgeSeconds: number
  /** The option; without it there are no routes for passkeys. */
  readonly passkeys: object | undefined
  /** Starts a session after a login with a passkey alone; its result is the response. */
  readonly signIn: SignIn | undefined
  readonly elevate: Elevate | undefined
  readonly requireRecentLogin: RequireRecentLogin
}

/** The parts, and functions for handlers. */
export interface RouteTools extends RouteParts {
  /** Returns the caller. @throws PARAPET_MFA_LOGIN_REQUIRED */
  readonly requireCaller: (request: FastifyRequest) => Principal
  /** Returns a caller who has a session. @throws PARAPET_MFA_SESSION_REQUIRED */
  readonly requireSession: (request: FastifyRequest) => Principal
  /** {@link requireSession}, for what only the user may do. @throws PARAPET_MFA_IMPERSONATED */
  readonly requireOwner: (request: FastifyRequest) => Principal
  /** Returns the name under which the caller's account appears in apps and passkey pickers. */
  readonly nameOf: (request: FastifyRequest) => Promise<string>
  /** Requires a proof not older than `manageMaxAgeSeconds`. @throws PARAPET_MFA_STEP_UP_REQUIRED */
  readonly requireFresh: (request: FastifyRequest, reply: FastifyReply) => Promise<void>
  /**
   * Returns the caller, who may change factors: with a recent proof, or after a recent login if there is
   * no factor yet.
   */
  readonly requireManager: (request: FastifyRequest, reply: FastifyReply) => Promise<Principal>
  readonly originOf: (request: FastifyRequest) => Origin
  /**
   * Lets the caller's session use a proof.
   *
   * @returns the proof for the response, with what the option `elevate` adds.
   * @throws PARAPET_MFA_PROOF_INSUFFICIENT
   */
  readonly assure: (
    request: FastifyRequest,
    reply: FastifyReply,
    proof: MfaProof,
  ) => Promise<ProofView>
}

/** What a client sees of a proof. `aal` is the level that the session has reached. */
interface ProofView extends Pick<MfaProof, 'method' | 'amr' | 'provedAt'> {
  readonly aal: number
}

/** Creates the functions. */
export function createTools(parts: RouteParts): RouteTools {
  const { mfa, stepUp, principalOf, callPort, elevate } = parts
  const fresh = compileRequirement({ maxAgeSeconds: parts.manageMaxAgeSeconds }, null)
  const requireCaller = (request: FastifyRequest): Principal => {
    const principal = principalOf(request)
    if (principal === null) throw challenge(new PARAPET_MFA_LOGIN_REQUIRED(), 'Bearer')
    return principal
  }
  const requireSession = (request: FastifyRequest): Principal => {
    const principal = requireCaller(request)
    stepUp.requireSession(principal)
    return principal
  }
  const requireOwner = (request: FastifyRequest): Principal => {
    const principal = requireSession(request)
    if (principal.actorId !== undefined) throw new PARAPET_MFA_IMPERSONATED()
    return principal
  }
  return {
    ...parts,
    requireCaller,
    requireSession,
    requireOwner,
    requireFresh: (request, reply) =>
      stepUp.require(request, reply, stepUp.withRoles(request, fresh)),
    nameOf: (request) => nameOf(parts, request, requireCaller(request)),
    async requireManager(request, reply) {
      const caller = requireOwner(request)
      const { enrolled, passkeys } = await mfa.status(caller.id)
      if (!enrolled) return parts.requireRecentLogin(caller)
      const rule = stepUp.withRoles(request, fresh)
      // A user who must have a passkey and has none yet may enrol it with another factor.
      const phishingResistant = rule.phishingResistant && passkeys.length > 0
      await stepUp.require(request, reply, { ...rule, phishingResistant })
      return caller
    },
    originOf: (request) => originOf(parts, request),
    async assure(request, reply, proof) {
      const sessionId = stepUp.requireSession(requireCaller(request))
      const renew =
        elevate && (() => callPort('elevate', async () => elevate(proof, request, reply)))
      const { aal, result } = await renewSession(parts.factors, proof, sessionId, renew)
      return { ...result, ...viewOf(proof), aal }
    },
  }
}

/** Where an attempt of the caller comes from, and what the login before has shown. */
function originOf({ principalOf, stepUp }: RouteParts, request: FastifyRequest): Origin {
  const principal = principalOf(request)
  const isLoginTrusted = principal !== null && stepUp.trustsLogin(principal, request)
  const { ip } = request
  const amr = loginMethods(principal)
  return { ip, amr, isLoginTrusted, sessionId: principal?.sessionId, request }
}

function viewOf({ method, aal, amr, provedAt }: MfaProof): ProofView {
  return { method, aal, amr, provedAt }
}

/** Names the caller's account. */
async function nameOf(
  { accountName, callPort }: RouteParts,
  request: FastifyRequest,
  caller: Principal,
): Promise<string> {
  if (accountName === undefined) return caller.id
  return callPort('accountName', () => accountName(request, caller))
}
