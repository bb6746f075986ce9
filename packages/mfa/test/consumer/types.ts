// Compiled by a strict consumer against the packed declarations; every line checks a type.
import plugin, { mfa, type Mfa, type MfaOptions, type MfaProof } from '@parapet/mfa'
import Fastify from 'fastify'

const options: MfaOptions = { issuer: 'Acme', keys: 'in the environment', profile: 'aal2' }
const app = Fastify()
await app.register(plugin, options)

export const decorated: Mfa = app.mfa
export const proof: MfaProof = (await app.mfa.verify('alice', '123456')).proof
app.get('/', { config: { mfa: { maxAgeSeconds: 300, phishingResistant: true } } }, async () => '')
app.securityEvents.on('mfa.verified', ({ details, severity }) => {
  const { method, aal }: { method: 'totp' | 'backup-code' | 'passkey'; aal: number } = details
  app.log.info({ method, aal, severity })
})

// @ts-expect-error a rule that does not exist
app.get('/typo', { config: { mfa: { maxAgeSeconds: '300' } } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(mfa, { issuer: 'Acme', key: 'x' })
// @ts-expect-error only the plugin creates a proof
await app.mfa.assure({ userId: 'alice', method: 'totp', aal: 2 }, 's1')
// @ts-expect-error an event that does not exist
app.securityEvents.on('mfa.verify', () => {})
await app.close()
