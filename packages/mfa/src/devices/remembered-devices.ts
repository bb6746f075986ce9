/** Remembered devices: a cookie replaces the second factor until it expires. */
import { secretsEqual, takeRandom } from '@parapet/kit'
import type { Account, RememberedDevice } from '../account/account.ts'
import { PARAPET_MFA_NOT_FOUND, PARAPET_MFA_STEP_UP_REQUIRED } from '../errors.ts'
import type { FactorContext, Origin } from '../factors/context.ts'
import { requireProof, type MfaProof } from '../proofs/proof.ts'
import { hashText } from '../tokens/hash-text.ts'

/** The settings of remembered devices. */
export interface DeviceSettings {
  /** How long a device is remembered. 0: no device is. */
  readonly maxAgeSeconds: number
}

/** The remembered devices of users. */
export interface Devices {
  /**
   * Remembers the device of a session that has just verified a factor.
   *
   * @param proof what the session has verified; without it the caller vouches for the session.
   * @returns the value for the device's cookie. Only a hash of its secret is stored.
   * @throws PARAPET_MFA_STEP_UP_REQUIRED the proof belongs to another user, covers one factor only, or
   *   the user's factors have changed since.
   */
  remember(userId: string, userAgent: string, origin?: Origin, proof?: MfaProof): Promise<string>
  /** The device of a cookie, if it is this user's, not expired, and the same kind of browser. */
  recognise(account: Account, cookie: string, userAgent: string): RememberedDevice | null
  list(userId: string): Promise<readonly RememberedDevice[]>
  /** Forgets one device, or all without `deviceId`. @throws PARAPET_MFA_NOT_FOUND */
  revoke(userId: string, deviceId?: string, origin?: Origin): Promise<void>
}

const MAX_DEVICES = 10
const COOKIE = /^([\w-]{16})\.([\w-]{43})$/

/** Creates the remembered devices. */
export function createDevices(context: FactorContext, { maxAgeSeconds }: DeviceSettings): Devices {
  const isAlive = (device: RememberedDevice): boolean => device.expiresAt > context.now()
  return {
    async remember(userId, userAgent, origin = {}, proof) {
      if (proof !== undefined) requireProof(proof)
      const { device, cookie } = createDevice(userAgent, context.now(), maxAgeSeconds)
      const remembered = await context.accounts.update(userId, (account) => {
        const proved = proof === undefined || isCurrentProof(proof, userId, account.epoch)
        if (!proved) return { result: false }
        const devices = [...account.devices.filter(isAlive), device].slice(-MAX_DEVICES)
        return { next: { ...account, devices }, result: true }
      })
      if (!remembered) throw new PARAPET_MFA_STEP_UP_REQUIRED()
      context.emit('mfa.device_remembered', userId, { deviceId: device.id }, origin)
      return cookie
    },
    recognise(account, cookie, userAgent) {
      const [, id, secret] = COOKIE.exec(cookie) ?? []
      if (maxAgeSeconds === 0 || id === undefined || secret === undefined) return null
      const device = account.devices.find((each) => each.id === id)
      if (device === undefined || !isAlive(device)) return null
      const isSame =
        secretsEqual(hashText(secret), device.secretHash) &&
        agentHashOf(userAgent) === device.agentHash
      return isSame ? device : null
    },
    list: async (userId) => (await context.accounts.read(userId)).devices.filter(isAlive),
    revoke: (userId, deviceId, origin = {}) => revoke(context, userId, deviceId, origin),
  }
}

function createDevice(
  userAgent: string,
  now: number,
  maxAgeSeconds: number,
): { readonly device: RememberedDevice; readonly cookie: string } {
  const id = takeRandom(12).toString('base64url')
  const secret = takeRandom(32).toString('base64url')
  const device: RememberedDevice = {
    id,
    secretHash: hashText(secret),
    agentHash: agentHashOf(userAgent),
    label: userAgent.slice(0, 120),
    createdAt: now,
    expiresAt: now + maxAgeSeconds * 1000,
  }
  return { device, cookie: `${id}.${secret}` }
}

async function revoke(
  context: FactorContext,
  userId: string,
  deviceId: string | undefined,
  origin: Origin,
): Promise<void> {
  const removed = await context.accounts.update(userId, (account) => {
    const devices = account.devices.filter(({ id }) => deviceId !== undefined && id !== deviceId)
    const result = account.devices.length - devices.length
    return result === 0 ? { result } : { next: { ...account, devices }, result }
  })
  if (removed === 0 && deviceId !== undefined) throw new PARAPET_MFA_NOT_FOUND()
  await context.sessionProofs.clear(
    userId,
    (proof) => proof.method === 'device' && (deviceId ?? proof.deviceId) === proof.deviceId,
  )
  if (removed > 0) context.emit('mfa.device_revoked', userId, { devices: removed }, origin)
}

/** Whether a proof is this user's, of two factors, and of the current epoch. */
function isCurrentProof(proof: MfaProof, userId: string, epoch: number): boolean {
  return proof.userId === userId && proof.aal >= 2 && proof.epoch === epoch
}

/** Without digits: version numbers change with every update, browser and system names do not. */
function agentHashOf(userAgent: string): string {
  return hashText(userAgent.replaceAll(/\d+/g, ''))
}
