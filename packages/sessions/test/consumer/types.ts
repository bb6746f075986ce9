// Compiled in strict mode against the packed declarations; each line checks a public type.
import plugin, {
  allowRsa2048,
  generateKey,
  generateSecret,
  sessions,
  type AccessToken,
  type SessionGrant,
  type Sessions,
  type SessionsOptions,
} from '@parapet/sessions'
import Fastify from 'fastify'

const options: SessionsOptions = {
  issuer: 'https://api.example.com',
  audience: 'example-api',
  keys: { current: generateKey('a passphrase') },
  secrets: [generateSecret()],
  [allowRsa2048]: true,
}
const app = Fastify()
await app.register(plugin, options)

export const decorated: Sessions = app.sessions
export const grant: SessionGrant = await app.sessions.start({ id: 'u-1', roles: [] })
app.get('/', { config: { sessions: 'optional' } }, async (request) => {
  const token: AccessToken | null = request.sessions
  return token?.user.id ?? request.principal?.id
})
app.post('/log-in', async (_request, reply) => app.sessions.hand(reply, grant).expires_in)
app.securityEvents.on('sessions.reuse_detected', ({ details }) => {
  const generation: number = details.presentedGeneration
  return void generation
})
// @ts-expect-error a rule that does not exist
app.get('/typo', { config: { sessions: 'require' } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(sessions, { ...options, accessLifetime: 1 })
// @ts-expect-error an event that does not exist
app.securityEvents.on('sessions.reused', () => {})
await app.close()
