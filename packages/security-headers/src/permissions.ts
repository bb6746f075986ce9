/** Permissions-Policy: which features of the browser a page, and what it frames, may use. */
import { isOrigin } from './origin.ts'

/** What OWASP's list denies, in its order. */
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

/** The listed ones, then what browsers have added since. */
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

/** A feature by its name in the header. */
export type PermissionFeature = (typeof permissionFeatures)[number]

/** Who may use a feature: nobody (`[]`), the page itself, origins, or everyone (`['*']`). */
type PermissionAllowlist = readonly ('self' | '*' | `https://${string}`)[]

/** Allow-lists by feature. */
export type Permissions = { readonly [F in PermissionFeature]?: PermissionAllowlist }

/** Every feature denied. */
export const noPermissions: Permissions = denyAll(permissionFeatures)

/** What OWASP's list denies: enough for data, which no browser opens as a page. */
export const noListedPermissions: Permissions = denyAll(listedFeatures)

function denyAll(features: readonly PermissionFeature[]): Permissions {
  return Object.freeze(Object.fromEntries(features.map((feature) => [feature, Object.freeze([])])))
}

/** What is wrong with an entry of an allow-list, or `undefined`. */
export function checkAllowlistEntry(value: unknown): string | undefined {
  if (value === 'self' || value === '*') return undefined
  if (typeof value === 'string' && isOrigin(value)) return undefined
  return "must be 'self', '*' or an origin such as https://maps.example"
}

/** The header's value. @see W3C Permissions Policy, section 5.2; RFC 9651, section 3.2 */
export function serializePermissions(permissions: Permissions): string {
  return Object.entries(permissions)
    .map(([feature, list]) => `${feature}=${list.includes('*') ? '*' : serializeList(list)}`)
    .join(', ')
}

/** An inner list: tokens bare, origins as strings. An origin holds no quote and no backslash. */
function serializeList(list: PermissionAllowlist): string {
  return `(${list.map((entry) => (entry === 'self' ? entry : `"${entry}"`)).join(' ')})`
}
