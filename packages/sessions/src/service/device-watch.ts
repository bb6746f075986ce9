/** Notices logins from devices that a user has not used before, and where a login came from. */
import { withDeadline, type SecurityEvents } from '@parapet/kit'
import type { NoticeDetails, NoticeKind } from '../accounts/account.ts'
import type { SessionGrant } from '../session/grant.ts'
import { deviceLabel } from '../users/device-label.ts'
import type { KnownDevices } from '../users/known-devices.ts'
import type { PlaceOf } from '../users/ports.ts'
import type { RequestLike } from '../users/request-like.ts'
import type { Device } from '../users/user.ts'

/** Sends a notice to a user. */
export type Notify = (userId: string, kind: NoticeKind, details: NoticeDetails) => Promise<void>

/** What {@link createDeviceWatch} needs. */
export interface DeviceWatchSettings {
  readonly devices: KnownDevices
  readonly placeOf: PlaceOf | undefined
  readonly notify: Notify
  readonly securityEvents: SecurityEvents
  /** Failures that must not refuse a login, to be logged. */
  readonly onError: (error: unknown) => void
}

/** See {@link createDeviceWatch}. */
export interface DeviceWatch {
  /** Adds the place to a device. */
  locate(device: Device): Promise<Device>
  /** Reports the login if the device is new. */
  note(grant: SessionGrant, device: Device, request: RequestLike): Promise<void>
}

const late = (): Error => new Error('the option "placeOf" did not answer within 500 ms')
/** A login waits no longer for the name of a place. */
const PLACE_DEADLINE_MS = 500
const MAX_PLACE = 100

/** Creates the watch. */
export function createDeviceWatch(settings: DeviceWatchSettings): DeviceWatch {
  const { devices, placeOf, notify, securityEvents, onError } = settings

  async function findPlace(ip: string): Promise<string | null> {
    const asked = (async () => (placeOf === undefined ? null : placeOf(ip)))()
    const place: unknown = await withDeadline(asked, PLACE_DEADLINE_MS, late)
    return typeof place === 'string' ? place.slice(0, MAX_PLACE).toWellFormed() : null
  }

  return {
    async locate(device) {
      if (placeOf === undefined || device.ip === undefined) return device
      try {
        const place = await findPlace(device.ip)
        return place === null ? device : { ...device, place }
      } catch (error) {
        onError(error)
        return device
      }
    },
    async note({ userId, sessionId }, device, request) {
      try {
        if (!(await devices.note(userId, device))) return
        const label = deviceLabel(device.userAgent)
        const details = { label, place: device.place ?? null }
        const fields = { principalId: userId, sessionId, details }
        securityEvents.emit('sessions.new_device', fields, request)
        await notify(userId, 'new_device', { ...details, ip: device.ip ?? null })
      } catch (error) {
        onError(error)
      }
    },
  }
}
