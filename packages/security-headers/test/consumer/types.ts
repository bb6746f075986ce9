// Compiled with strict settings against the declarations of the packed package.
import plugin, {
  securityHeaders,
  type Explanation,
  type SecurityHeaders,
  type SecurityHeadersOptions,
  type SecurityHeadersRule,
} from '@parapet/security-headers'
import Fastify from 'fastify'

const options: SecurityHeadersOptions = {
  preset: 'web',
  csp: { 'img-src': ["'self'"] },
  permissions: { camera: ['self', 'https://a.example'] },
  cors: { origins: ['https://app.example'] },
}
const app = Fastify()
await app.register(plugin, options)

export const decorated: SecurityHeaders = app.securityHeaders
export const explained: Explanation = app.securityHeaders.explain('GET', '/')
export const frames: string | undefined = app.securityHeaders.headers['x-frame-options']
export const rule: SecurityHeadersRule = { isolation: { scope: 'cross-site', reason: 'a badge' } }

app.securityEvents.on('security_headers.request_isolated', ({ details, severity }) => {
  const reason: 'cross-site' | 'same-site' | 'origin-mismatch' | 'referer-mismatch' = details.reason
  app.log.info({ reason, severity })
})
app.get('/', { config: { securityHeaders: rule } }, (_request, reply) =>
  reply.clearSiteData('cache').send(`${reply.cspNonce.script}${reply.csrfToken}`),
)

// @ts-expect-error a preset that does not exist
app.get('/typo', { config: { securityHeaders: { preset: 'strict' } } }, async () => null)
// @ts-expect-error a directive that does not exist
await app.register(securityHeaders, { csp: { 'script-source': [] } })
// @ts-expect-error a feature that does not exist
await app.register(securityHeaders, { permissions: { cameras: [] } })
// @ts-expect-error an event that does not exist
app.securityEvents.on('security_headers.isolated', () => {})
await app.close()
