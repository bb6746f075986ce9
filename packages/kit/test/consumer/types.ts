// Compiled by a strict consumer against the packed declarations; every line is a promise of a type.
import {
  createMemoryStore,
  option,
  readOptions,
  useSecurityEvents,
  type Principal,
  type Store,
} from '@parapet/kit'
import Fastify from 'fastify'

declare module '@parapet/kit' {
  interface SecurityEventTypes {
    'door.refused': { reason: 'peer' | 'hour' }
  }
}

export const store: Store = createMemoryStore({ maxBytes: 4096 })
const { stepSeconds, mode, issuer } = readOptions(
  'door',
  {},
  {
    stepSeconds: option.seconds({ default: 30 }),
    mode: option.oneOf(['open', 'closed'], { default: 'closed' }),
    issuer: option.optional(option.text({ pattern: /^\w+$/, form: 'a word' })),
  },
  undefined,
  { hints: { step: 'stepSeconds: 30' } },
)
export const settings: [number, 'open' | 'closed', string | undefined] = [stepSeconds, mode, issuer]

const app = Fastify()
const events = useSecurityEvents(app, {
  'door.refused': { severity: 'medium', outcome: 'failure', description: 'It stayed shut' },
})
events.on('door.refused', ({ details }) => {
  const reason: 'peer' | 'hour' = details.reason
  return reason
})
events.on('*', (event) => event.type === 'kit.store_recovered' && event.details.downMs > 0)
app.get('/', (request) => {
  const principal: Principal | null = request.principal
  events.emit('door.refused', { details: { reason: 'hour' } }, request)
  return principal?.roles
})

// @ts-expect-error a detail that does not exist
events.emit('door.refused', { details: { reason: 'mood' } })
// @ts-expect-error an event that does not exist
events.on('door.opened', () => {})
// @ts-expect-error an option that does not exist
createMemoryStore({ maxByte: 1 })
