// Compiled by a strict consumer against the packed declarations; every line checks a type.
import plugin, {
  compileEnvironment,
  createEnvironmentProvider,
  secrets,
  secretText,
  type RotatingSecret,
  type Secret,
  type SecretsOptions,
} from '@parapet/secrets'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'

const environment = compileEnvironment(
  Type.Object({ PORT: Type.Integer(), KEY: secretText(), NAME: Type.Optional(Type.String()) }),
)
const config = environment.read(process.env)
export const port: number = config.PORT
export const key: Secret = config.KEY
export const name: string | undefined = config.NAME
const provider = createEnvironmentProvider()
const options: SecretsOptions = { secrets: { KEY: { provider, overlapMs: 1000 } } }
const app = Fastify()
await app.register(plugin, options)
export const loaded: RotatingSecret = app.secrets.get('KEY')
app.securityEvents.on('secrets.rotated', ({ details }) => {
  const { secret, overlapMs }: { secret: string; overlapMs: number } = details
  app.log.info({ secret, overlapMs })
})

// @ts-expect-error a secret is not a string
export const text: string = config.KEY
// @ts-expect-error an option that does not exist
await app.register(secrets, { provider })
// @ts-expect-error an event that does not exist
app.securityEvents.on('secrets.rotate', () => {})
await app.close()
