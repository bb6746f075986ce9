/** The options of `@parapet/security-headers`: violation reports and CORS. */
import type { SecurityHeadersOptions } from '@parapet/security-headers'
import type { Config } from '../config/environment.ts'

/** Allows the origins in `CORS_ORIGINS` to read responses. */
export function createHeadersOptions({ corsOrigins }: Config): SecurityHeadersOptions {
  if (corsOrigins === undefined) return { reports: {} }
  return {
    reports: {},
    cors: {
      origins: corsOrigins,
      methods: ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'],
      allowedHeaders: ['authorization', 'content-type', 'if-match'],
      exposedHeaders: ['etag', 'location'],
    },
  }
}
