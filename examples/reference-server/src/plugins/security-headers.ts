/** What every reply says to browsers, and which other origins may read it. */
import type { SecurityHeadersOptions } from '@parapet/security-headers'
import type { Config } from './config.ts'

/** The options of the security-headers plugin in this service. */
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
