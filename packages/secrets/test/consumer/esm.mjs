// Runs in a bare ESM app that has installed the packed package.
import assert from 'node:assert/strict'
import secrets, { compileEnvironment, secretText, secrets as named } from '@parapet/secrets'
import Fastify from 'fastify'

assert.equal(secrets, named)
// A plain JSON Schema works as well as TypeBox.
const environment = compileEnvironment({
  type: 'object',
  properties: { PORT: { type: 'integer', default: 3000 }, KEY: secretText() },
  required: ['KEY'],
})
assert.throws(() => environment.read({}), { message: /"KEY" is required/ })
const config = environment.read({ KEY: 'w8Zc4rQ1yN6uHs3EpXo0' })
const app = Fastify()
await app.register(secrets, { config })
app.get('/', async () => config.KEY.use((value) => value))
assert.equal((await app.inject('/')).statusCode, 500)
await app.close()
