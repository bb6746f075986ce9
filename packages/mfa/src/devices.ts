/** Remembered devices: a cookie that stands in for the second factor for a while, and no longer. */
import { secretsEqual, takeRandom } from '@parapet/kit'
import type { Account, RememberedDevice } from './account.ts'
import type { Core, Origin } from './core.ts'
import { hashText } from './digest.ts'
import { PARAPET_MFA_NOT_FOUND, PARAPET_MFA_STEP_UP_REQUIRED } from './errors.ts'
import { requireProof, type MfaProof } from './proof.ts'

/** What a remembered device shows and how long it may. */
export interface DeviceSettings {
  /** 0: no device is remembered. */
  readonly maxAgeSeconds: number
}

/** Devices of users. */
export interface Devices {
  /**
   * Remembers the device behind a session that has just proved a factor.
   *
   * @param proof what it has proved; without it the caller vouches for that.
   * @returns the secret for its cookie; it is kept nowhere else.
   * @throws PARAPET_MFA_STEP_UP_REQUIRED the user's factors have changed since, or it is another's.
   */
  remember(userId: string, userAgent: string, origin?: Origin, proof?: MfaProof): Promise<string>
  /** The device behind a cookie, if it is this user's, alive, and the same kind of browser. */
  recognise(account: Account, cookie: string, userAgent: string): RememberedDevice | null
  list(userId: string): Promise<readonly RememberedDevice[]>
  /** Forgets one device, or all. @throws PARAPET_MFA_NOT_FOUND */
  revoke(userId: string, deviceId?: string, origin?: Origin): Promise<void>
}

const MAX_DEVICES = 10
const COOKIE = /^([\w-]{16})\.([\w-]{43})$/

/** Joins devices to their accounts. */
export function createDevices(core: Core, { maxAgeSeconds }: DeviceSettings): Devices {
  const alive = (device: RememberedDevice): boolean => device.expiresAt > core.now()
  return {
    async remember(userId, userAgent, origin = {}, proof) {
      if (proof !== undefined) requireProof(proof)
      const id = takeRandom(12).toString('base64url')
      const secret = takeRandom(32).toString('base64url')
      const device: RememberedDevice = {
        id,
        secretHash: hashText(secret),
        agentHash: agentHashOf(userAgent),
        label: userAgent.slice(0, 120),
        createdAt: core.now(),
        expiresAt: core.now() + maxAgeSeconds * 1000,
      }
      const remembered = await core.accounts.update(userId, (account) => {
        const proved = proof === undefined || isOf(proof, userId, account.epoch)
        if (!proved) return { result: false }
        const devices = [...account.devices.filter(alive), device].slice(-MAX_DEVICES)
        return { next: { ...account, devices }, result: true }
      })
      if (!remembered) throw new PARAPET_MFA_STEP_UP_REQUIRED()
      core.emit('mfa.device_remembered', userId, { deviceId: id }, origin)
      return `${id}.${secret}`
    },
    recognise(account, cookie, userAgent) {
      const [, id, secret] = COOKIE.exec(cookie) ?? []
      if (maxAgeSeconds === 0 || id === undefined || secret === undefined) return null
      const device = account.devices.find((each) => each.id === id)
      if (device === undefined || !alive(device)) return null
      const same =
        secretsEqual(hashText(secret), device.secretHash) &&
        agentHashOf(userAgent) === device.agentHash
      return same ? device : null
    },
    list: async (userId) => (await core.accounts.read(userId)).devices.filter(alive),
    async revoke(userId, deviceId, origin = {}) {
      const gone = await core.accounts.update(userId, (account) => {
        const devices = account.devices.filter(
          ({ id }) => deviceId !== undefined && id !== deviceId,
        )
        const result = account.devices.length - devices.length
        return result === 0 ? { result } : { next: { ...account, devices }, result }
      })
      if (gone === 0 && deviceId !== undefined) throw new PARAPET_MFA_NOT_FOUND()
      await core.marks.clear(
        userId,
        (mark) => mark.method === 'device' && (deviceId ?? mark.deviceId) === mark.deviceId,
      )
      if (gone > 0) core.emit('mfa.device_revoked', userId, { devices: gone }, origin)
    },
  }
}

/** Whether a proof is this user's, of two factors, and of no epoch that has ended. */
function isOf(proof: MfaProof, userId: string, epoch: number): boolean {
  return proof.userId === userId && proof.aal >= 2 && proof.epoch === epoch
}

/** Versions change every few weeks; the browser and the system behind them do not. */
function agentHashOf(userAgent: string): string {
  return hashText(userAgent.replaceAll(/\d+/g, ''))
}
