/** `Permissions-Policy`: the browser features that a page and its frames may use. */
import { option, type OptionReader } from '@parapet/kit'
import { isOrigin } from '../cors/origin.ts'
import { namedMap } from './named-map.ts'

/**
 * The features that the list of the OWASP Secure Headers Project denies, in its order. Chromium 156
 * knew all of them in November 2026: it logs an error for a name that it does not know. Left out are
 * `web-share`, which Chromium knows on Android and Windows only, and names that none knows.
 */
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

/** The features that pages may be denied: those of OWASP's list, then those added later. */
export const deniedFeatures = Object.freeze([
  ...listedFeatures,
  'browsing-topics',
  'compute-pressure',
  'identity-credentials-get',
  'local-fonts',
  'otp-credentials',
  'publickey-credentials-create',
  'storage-access',
  'window-management',
] as const)

/** Every feature that may be set. `web-share` is sent only if an option names it. */
const permissionFeatures = Object.freeze([...deniedFeatures, 'web-share'] as const)

/** The name of a feature in the header. */
export type PermissionFeature = (typeof permissionFeatures)[number]

/** Who may use a feature: no page (`[]`), the page itself, listed origins, or every origin (`['*']`). */
type PermissionAllowlist = readonly ('self' | '*' | `https://${string}`)[]

/** Allow-lists by feature name. */
export type Permissions = { readonly [F in PermissionFeature]?: PermissionAllowlist }

/** Every feature denied. */
export const noPermissions: Permissions = denyAll(deniedFeatures)

/** Every feature denied but passkeys on pages of this origin. @see W3C WebAuthn Level 3, section 5.9 */
export const pagePermissions: Permissions = Object.freeze({
  ...noPermissions,
  'publickey-credentials-get': Object.freeze(['self'] as const),
  'publickey-credentials-create': Object.freeze(['self'] as const),
})

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
