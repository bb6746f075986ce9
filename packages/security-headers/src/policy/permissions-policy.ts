/** `Permissions-Policy`: the browser features that a page and its frames may use. */
import { option, type OptionReader } from '@parapet/kit'
import { isOrigin } from '../cors/origin.ts'
import { namedMap } from './named-map.ts'

/** The features that the list of the OWASP Secure Headers Project denies, in its order. */
const listedFeatures = Object.freeze([
  'accelerometer',
  'autoplay',
  'camera',
  'cross-origin-isolated',
  'display-capture',
  'encrypted-media',
  'fullscreen',
  'geolocation',
  'gyroscope',
  'keyboard-map',
  'magnetometer',
  'microphone',
  'midi',
  'payment',
  'picture-in-picture',
  'publickey-credentials-get',
  'screen-wake-lock',
  'sync-xhr',
  'usb',
  'web-share',
  'xr-spatial-tracking',
  'clipboard-read',
  'clipboard-write',
  'gamepad',
  'hid',
  'idle-detection',
  'interest-cohort',
  'serial',
  'unload',
] as const)

/** The features of OWASP's list, then those that browsers added later. */
export const permissionFeatures = Object.freeze([
  ...listedFeatures,
  'bluetooth',
  'browsing-topics',
  'compute-pressure',
  'identity-credentials-get',
  'local-fonts',
  'otp-credentials',
  'publickey-credentials-create',
  'storage-access',
  'window-management',
] as const)

/** The name of a feature in the header. */
export type PermissionFeature = (typeof permissionFeatures)[number]

/** Who may use a feature: no page (`[]`), the page itself, listed origins, or every origin (`['*']`). */
type PermissionAllowlist = readonly ('self' | '*' | `https://${string}`)[]

/** Allow-lists by feature name. */
export type Permissions = { readonly [F in PermissionFeature]?: PermissionAllowlist }

/** Every feature denied. */
export const noPermissions: Permissions = denyAll(permissionFeatures)

/** The features of OWASP's list denied. This is enough for data that browsers do not show as a page. */
export const noListedPermissions: Permissions = denyAll(listedFeatures)

function denyAll(features: readonly PermissionFeature[]): Permissions {
  return Object.freeze(Object.fromEntries(features.map((feature) => [feature, Object.freeze([])])))
}

/** @returns what is wrong with an entry of an allow-list; `undefined`: nothing. */
function checkAllowlistEntry(value: unknown): string | undefined {
  if (value === 'self' || value === '*') return undefined
  if (typeof value === 'string' && isOrigin(value)) return undefined
  return "must be 'self', '*' or an origin such as https://maps.example"
}

/** Reads the option `permissions`. */
export const permissionsReader: OptionReader<Permissions> = namedMap(
  permissionFeatures,
  'feature of Permissions-Policy',
  option.list(option.custom<'self'>(checkAllowlistEntry)),
)

/** The value of the header. @see W3C Permissions Policy, section 5.2; RFC 9651, section 3.2 */
export function serializePermissions(permissions: Permissions): string {
  return Object.entries(permissions)
    .map(([feature, list]) => `${feature}=${list.includes('*') ? '*' : serializeList(list)}`)
    .join(', ')
}

/** An inner list of tokens and strings. `isOrigin` guarantees that no origin needs escaping. */
function serializeList(list: PermissionAllowlist): string {
  return `(${list.map((entry) => (entry === 'self' ? entry : `"${entry}"`)).join(' ')})`
}
