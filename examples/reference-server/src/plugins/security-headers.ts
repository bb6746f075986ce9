/** The options of `@parapet/security-headers`: violation reports and CORS. */
import type { SecurityHeadersOptions } from '@parapet/security-headers'
import { systemClock } from '@parapet/kit'
import type { Ports } from '../app.ts'
import type { Config } from '../config/environment.ts'

/** RFC 9116 recommends less than a year; a server that runs for longer is restarted for updates. */
const SECURITY_TXT_DAYS = 360

/** Allows the origins in `CORS_ORIGINS` to read responses. */
export function createHeadersOptions(
  { corsOrigins, publicUrl, securityContact }: Config,
  { clock = systemClock }: Ports,
): SecurityHeadersOptions {
  const expires = new Date(clock.now() + SECURITY_TXT_DAYS * 86_400_000)
  const options: SecurityHeadersOptions = {
    reports: {},
    securityTxt: {
      contact: [securityContact],
      expires: expires.toISOString(),
      // RFC 9116 allows https only.
      canonical: publicUrl.startsWith('https:') ? [`${publicUrl}/.well-known/security.txt`] : [],
      preferredLanguages: ['en'],
    },
    routes: {
      'GET /docs': { preset: 'docs' },
      'GET /docs/**': { preset: 'docs' },
    },
  }
  if (corsOrigins === undefined) return options
  return {
    ...options,
    cors: {
      origins: corsOrigins,
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
      allowedHeaders: ['authorization', 'content-type', 'if-match'],
      exposedHeaders: ['etag', 'location'],
    },
  }
}
