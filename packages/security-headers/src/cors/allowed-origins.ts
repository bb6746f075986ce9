/** Decides whether an origin is allowed. */
import type { CorsSettings } from './options.ts'

/** Longer origins are denied without further checks. */
const MAX_ORIGIN_LENGTH = 255

/** Creates the check of an origin: one set lookup, then prefix and suffix comparisons. */
export function createOriginCheck({
  origins,
  allowOrigin,
}: Pick<CorsSettings, 'origins' | 'allowOrigin'>): (origin: string) => boolean {
  const exact = new Set(origins.filter((origin) => !origin.includes('*')))
  const patterns = origins
    .filter((origin) => origin.includes('*'))
    .map((pattern) => pattern.split('*') as [scheme: string, suffix: string])
  return (origin) => {
    if (exact.has(origin)) return true
    // All sandboxed frames and local files have the origin `null`, so it identifies no one.
    if (origin === 'null' || origin.length > MAX_ORIGIN_LENGTH) return false
    return (
      patterns.some(([scheme, suffix]) => isSubdomain(origin, scheme, suffix)) ||
      isAllowedByCallback(allowOrigin, origin)
    )
  }
}

/** A callback that throws denies the origin. */
function isAllowedByCallback(allowOrigin: CorsSettings['allowOrigin'], origin: string): boolean {
  try {
    return allowOrigin?.(origin) === true
  } catch {
    return false
  }
}

/** @param suffix the domain with its leading dot: `.example.com` */
function isSubdomain(origin: string, scheme: string, suffix: string): boolean {
  if (!origin.startsWith(scheme) || !origin.endsWith(suffix)) return false
  const labels = origin.slice(scheme.length, -suffix.length)
  return /^[a-z0-9-]+(?:\.[a-z0-9-]+)*$/.test(labels)
}
