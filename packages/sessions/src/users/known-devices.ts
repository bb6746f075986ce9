/** Which devices a user has logged in from, so that a login from another one can be reported. */
import { createHmac } from 'node:crypto'
import { clientKey, type Store } from '@parapet/kit'
import { deviceLabel } from './device-label.ts'
import type { Device } from './user.ts'

/** See {@link createKnownDevices}. */
export interface KnownDevices {
  /** Notes a login. @returns whether the user has logged in before, but not from this device. */
  note(userId: string, device: Device): Promise<boolean>
  /** Deletes the devices of a user who does not exist any more. */
  forget(userId: string): Promise<void>
}

/** How long a device is known after its last login. */
const TTL_MS = 90 * 86_400_000
const MAX_DEVICES = 100

/** @param key of the hash under which devices are stored; they say where a person lives and works. */
export function createKnownDevices(store: Store, key: Buffer): KnownDevices {
  return {
    async note(userId, { ip, userAgent }) {
      const text = `${userId}\n${deviceLabel(userAgent)}\n${networkOf(ip)}`
      const member = createHmac('sha256', key).update(text).digest('base64url').slice(0, 22)
      const bounds = { ttlMs: TTL_MS, maxMembers: MAX_DEVICES }
      const { added, size } = await store.addMember(keyOf(userId), member, bounds)
      // The first login of all is no news to its user.
      return added && size > 1
    },
    forget: async (userId) => void (await store.delete(keyOf(userId))),
  }
}

function keyOf(userId: string): string {
  return `sessions:devices:${userId}`
}

/** The network of a provider in one region: addresses of one home change within it. */
function networkOf(ip: string | undefined): string {
  return ip === undefined ? '' : clientKey(ip).split(/[.:]/, 2).join(' ')
}
