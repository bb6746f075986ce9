/** Decides whether a session meets a step-up rule. */
import type { Principal } from '@parapet/kit'
import { hasFactor, type Account, type RememberedDevice } from '../account/account.ts'
import type { FactorContext } from '../factors/context.ts'
import type { SessionProof } from '../proofs/session-proofs.ts'
import { hashText } from '../tokens/hash-text.ts'
import { satisfies, type CompiledRule } from './rules.ts'

/** Who sends the request. */
export interface StepUpCaller {
  readonly principal: Principal
  /** What the login itself has proved; `null`: nothing that is trusted. */
  readonly loginProof: SessionProof | null
  /** Reads the cookie of a remembered device. A function, because most requests do not need it. */
  readonly readDeviceCookie: () => string | undefined
  readonly userAgent: string
}

/** The result of {@link decideStepUp}. */
export interface StepUpVerdict {
  readonly result: 'allowed' | 'unproved' | 'unenrolled'
  /** The rule that was applied; while a passkey is due it is weaker than the given one. */
  readonly rule: CompiledRule
  /** Until when the user may work without the required factor; `null` if no grace period runs. */
  readonly enrolmentDueAt: number | null
}

/** Reads remembered devices. */
interface DeviceReader {
  /** The device of a cookie, if it is one of the account, not expired, and the same kind of browser. */
  recognise(account: Account, cookie: string, userAgent: string): RememberedDevice | null
}

/** What decisions need. */
export interface StepUpContext {
  readonly factors: FactorContext
  readonly devices: DeviceReader
}

/** Decides about one request. It rejects, so the request is refused, while the store is down. */
export async function decideStepUp(
  context: StepUpContext,
  caller: StepUpCaller,
  rule: CompiledRule,
): Promise<StepUpVerdict> {
  const { accounts, now } = context.factors
  const { id } = caller.principal
  const proofs = await findProofs(context.factors, caller)
  const isMet = (by: CompiledRule): boolean => proofs.some((proof) => satisfies(proof, by, now()))
  if (isMet(rule)) return { result: 'allowed', rule, enrolmentDueAt: null }

  const account = await accounts.read(id)
  let applied = rule
  let enrolmentDueAt: number | null = null
  if (!hasFactor(account) || (rule.phishingResistant && account.passkeys.length === 0)) {
    if (!rule.ifEnrolled) {
      enrolmentDueAt = await findGraceEnd(context.factors, id, account, rule)
      if (enrolmentDueAt === null) return { result: 'unenrolled', rule, enrolmentDueAt }
    }
    if (!hasFactor(account)) return { result: 'allowed', rule, enrolmentDueAt }
    // The user has no passkey yet. Until it is due, the existing factor must be shown.
    applied = { ...rule, phishingResistant: false }
    if (isMet(applied)) return { result: 'allowed', rule: applied, enrolmentDueAt }
  }
  const isRemembered = applied.rememberedDevice && (await useDevice(context, caller, account))
  return { result: isRemembered ? 'allowed' : 'unproved', rule: applied, enrolmentDueAt }
}

/** The proofs that count: of the login itself, and of the session. */
async function findProofs(
  { sessionProofs }: FactorContext,
  caller: StepUpCaller,
): Promise<readonly SessionProof[]> {
  const { principal, loginProof } = caller
  const { id, sessionId } = principal
  const stored = sessionId === undefined ? [] : await sessionProofs.find(id, sessionId)
  const shown = stored.filter((proof) => proof.method !== 'device' || hasCookie(proof, caller))
  if (loginProof === null || !sessionProofs.isCurrent(loginProof)) return shown
  return [loginProof, ...shown]
}

/** A stolen token of the session must not be lifted by a device that it was not stolen from. */
function hasCookie({ cookieHash }: SessionProof, { readDeviceCookie }: StepUpCaller): boolean {
  const cookie = readDeviceCookie()
  return cookie !== undefined && cookieHash === hashText(cookie)
}

/**
 * The end of the user's grace period; `null` if there is none or it is over. Grace is for users who
 * never had a factor, or who have one and lack only the passkey. A user who has lost every factor
 * gets none, or the password alone would again be enough.
 */
async function findGraceEnd(
  { accounts, now }: FactorContext,
  userId: string,
  account: Account,
  { graceMs }: CompiledRule,
): Promise<number | null> {
  if (graceMs === null || graceMs === 0) return null
  if (!hasFactor(account) && account.epoch !== 0) return null
  const since =
    account.graceSince ??
    (await accounts.update(userId, (current) => {
      const graceSince = current.graceSince ?? now()
      return { next: { ...current, graceSince }, result: graceSince }
    }))
  return now() < since + graceMs ? since + graceMs : null
}

/**
 * Whether the cookie is of a remembered device. The session keeps that as a proof for requests with the
 * same cookie, so that they need not read the account again.
 */
async function useDevice(
  { factors, devices }: StepUpContext,
  { principal, readDeviceCookie, userAgent }: StepUpCaller,
  account: Account,
): Promise<boolean> {
  const { id, sessionId } = principal
  const cookie = readDeviceCookie()
  const device = cookie === undefined ? null : devices.recognise(account, cookie, userAgent)
  if (device === null || cookie === undefined) return false
  if (sessionId === undefined) return true
  const { accounts, sessionProofs, now } = factors
  await sessionProofs.set(id, sessionId, {
    method: 'device',
    aal: 1,
    phishingResistant: false,
    provedAt: now(),
    deviceId: device.id,
    cookieHash: hashText(cookie),
  })
  // If the device was revoked meanwhile, the proof may have been written after the revocation
  // cleared the proofs of this device.
  const current = await accounts.read(id)
  if (current.devices.some((each) => each.id === device.id)) return true
  await sessionProofs.clear(id, ({ deviceId }) => deviceId === device.id)
  return false
}
