// Compiles against the packed declarations, strictly.
import privacy, {
  personal,
  type FieldStrategy,
  type Privacy,
  type PrivacyOptions,
  type PrivacySource,
} from '@parapet/privacy'
import Fastify from 'fastify'

export const strategy: FieldStrategy = { retain: 'tax law' }
export const source: PrivacySource = {
  name: 'users',
  purpose: 'Accounts',
  legalBasis: 'contract',
  categories: [],
  retentionDays: null,
  storedIn: 'postgresql: users',
  fields: { email: 'anonymise-email', invoice: strategy },
}
export const options: PrivacyOptions = {
  controller: { name: 'Acme', contact: 'privacy@example.org' },
  secret: 'x'.repeat(43),
  keys: '1:key',
  sources: [source],
  stepUp: async (request, principal) => request.ip !== '' && principal.id !== '',
}
export const marked: { type: string } = personal({ type: 'string' }, { category: 'user.name' })

const app = Fastify()
await app.register(privacy, options)
app.get('/news', { config: { consent: ['mail', 'statistics'] } }, async () => 'news')
export const decorator: Privacy = app.privacy
export const granted: Promise<boolean> = app.privacy.consents.has('u-1', 'mail')
app.securityEvents.on('privacy.erasure_failed', ({ details }) => details.attempts.toFixed())
// @ts-expect-error an unknown strategy
export const wrong: FieldStrategy = 'erase'
