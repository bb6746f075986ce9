// Compiled by a strict consumer against the packed declarations; every line checks a type.
import plugin, {
  encodeFor,
  inputGuard,
  SafeEmail,
  type InputGuard,
  type InputGuardOptions,
} from '@parapet/input-guard'
import Fastify from 'fastify'

const options: InputGuardOptions = { audit: 'error', json: { maxDepth: 8 } }
const app = Fastify()
await app.register(plugin, options)

export const decorated: InputGuard = app.inputGuard
export const shown: string = encodeFor.html('<b>')
export const email: { readonly type: 'string' } = SafeEmail({ disposable: 'reject' })
app.get('/', async ({ inputGuard: { sanitized } }) => sanitized.join())
app.securityEvents.on('input_guard.rejected', ({ details, severity }) => {
  const { field, code, count }: { field: string; code: string; count: number } = details
  app.log.info({ field, code, count, severity })
})

// @ts-expect-error a setting that does not exist
SafeEmail({ disposible: 'reject' })
// @ts-expect-error an option that does not exist
await app.register(inputGuard, { strict: true })
// @ts-expect-error an event that does not exist
app.securityEvents.on('input_guard.reject', () => {})
await app.close()
