/** The second step of a login: what a login plugin asks before it starts a session. */
import { hasFactor } from '../account/account.ts'
import { readDeviceCookie, writeDeviceCookie } from '../devices/device-cookie.ts'
import type { Devices } from '../devices/remembered-devices.ts'
import { PARAPET_MFA_INVALID_ARGUMENT } from '../errors.ts'
import type { Method } from '../events.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import type { MfaProof } from '../proofs/proof.ts'
import type { Resets } from './reset-and-recovery.ts'

/** The request in which a login is made. A Fastify request satisfies it. */
export interface LoginRequest {
  readonly ip: string
  readonly headers: {
    readonly cookie?: string | undefined
    readonly 'user-agent'?: string | undefined
  }
}

/** The login so far. */
export interface SecondFactorContext {
  readonly request: LoginRequest
  /** The methods of the first step. @see RFC 8176 */
  readonly amr: readonly string[]
  /** Sets a header of the response, for the cookie of a remembered device. */
  setHeader(name: string, value: string): void
}

/** What the user shows: exactly one of `code` and `passkey`. */
export interface SecondFactorProof {
  /** As typed. */
  readonly code?: string
  /** The credential's `toJSON()`; it is verified here. */
  readonly passkey?: object
  readonly rememberDevice?: boolean
}

/** What the session that begins has proved. */
export interface SecondFactorResult {
  /** The methods of both steps. @see RFC 8176 */
  readonly amr: readonly string[]
  /** `aal1`, `aal2`, or `phr` for a passkey. @see OpenID EAP ACR Values 1.0 */
  readonly acr: string
  /** Milliseconds since the Unix epoch. */
  readonly authenticatedAt: number
  /** Lets the new session use the proof. Call it before the session's tokens leave. */
  readonly bind: (sessionId: string) => Promise<void>
}

/** The second step of a login, at `app.mfa.secondFactor`. */
export interface SecondFactor {
  /**
   * The methods with which a user can finish a login. `[]`: no second step, because the user has no
   * factor or the device is remembered.
   */
  methodsOf(userId: string, context: SecondFactorContext): Promise<readonly Method[]>
  /**
   * Verifies a code or a passkey.
   *
   * @throws the errors of `app.mfa.verify` and of `app.mfa.passkeys.verify`.
   */
  verify(
    userId: string,
    proof: SecondFactorProof,
    context: SecondFactorContext,
  ): Promise<SecondFactorResult>
  /** Removes every factor of a user who has proved that someone else enrolled the first one. */
  removeAll(userId: string, context: Pick<SecondFactorContext, 'request'>): Promise<void>
  /** Options for `navigator.credentials.get`. @throws PARAPET_MFA_INVALID_ARGUMENT no `passkeys` */
  passkeyOptions(userId: string, context: SecondFactorContext): Promise<object>
}

/** What the second step needs. */
export interface SecondFactorParts {
  readonly factors: FactorContext
  readonly devices: Devices
  readonly deviceMaxAgeSeconds: number
  readonly assure: (proof: MfaProof, sessionId: string) => Promise<void>
  readonly verifyCode: (userId: string, code: string, origin: Origin) => Promise<MfaProof>
  readonly verifyPasskey: (userId: string, response: object, origin: Origin) => Promise<MfaProof>
  readonly passkeyOptions: (userId: string) => Promise<object>
  readonly reset: Resets['reset']
}

/** Creates the second step. */
export function createSecondFactor(parts: SecondFactorParts): SecondFactor {
  const { factors, devices } = parts
  return {
    async methodsOf(userId, { request: { headers } }) {
      const account = await factors.accounts.read(userId)
      const cookie = readDeviceCookie(headers.cookie)
      const agent = headers['user-agent'] ?? ''
      const isRemembered =
        cookie !== undefined && devices.recognise(account, cookie, agent) !== null
      if (isRemembered || !hasFactor(account)) return []
      // A disabled factor is listed too: an empty list would let the first step alone begin a session.
      const methods: Method[] = account.totp === null ? [] : ['totp']
      if (account.passkeys.length > 0) methods.push('passkey')
      if ((account.backupCodes?.hashes.length ?? 0) > 0) methods.push('backup-code')
      return methods
    },
    async verify(userId, shown, context) {
      const proof = await verify(parts, userId, shown, context)
      if (shown.rememberDevice === true) await remember(parts, proof, context)
      const { amr, provedAt: authenticatedAt } = proof
      const bind = (sessionId: string) => parts.assure(proof, sessionId)
      return { amr, acr: acrOfProof(proof), authenticatedAt, bind }
    },
    removeAll: (userId, { request }) => parts.reset(userId, userId, { ip: request.ip, request }),
    passkeyOptions: (userId) => parts.passkeyOptions(userId),
  }
}

function verify(
  { verifyCode, verifyPasskey }: SecondFactorParts,
  userId: string,
  { code, passkey }: SecondFactorProof,
  { request, amr }: SecondFactorContext,
): Promise<MfaProof> {
  const origin: Origin = { ip: request.ip, amr, request }
  if (code !== undefined && passkey === undefined) return verifyCode(userId, code, origin)
  if (passkey !== undefined && code === undefined) return verifyPasskey(userId, passkey, origin)
  throw new PARAPET_MFA_INVALID_ARGUMENT(
    'a second factor needs either "code" or "passkey", got both or neither',
  )
}

async function remember(
  { devices, deviceMaxAgeSeconds }: SecondFactorParts,
  proof: MfaProof,
  context: SecondFactorContext,
): Promise<void> {
  const { request } = context
  if (deviceMaxAgeSeconds === 0 || proof.aal < 2) return
  const agent = request.headers['user-agent'] ?? ''
  const secret = await devices.remember(proof.userId, agent, { ip: request.ip, request }, proof)
  context.setHeader('set-cookie', writeDeviceCookie(secret, deviceMaxAgeSeconds))
}

function acrOfProof({ aal, phishingResistant }: MfaProof): string {
  return aal === 1 ? 'aal1' : phishingResistant ? 'phr' : 'aal2'
}
