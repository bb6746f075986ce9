// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { inputGuard, PARAPET_INPUT_GUARD_BODY_REFUSED, SafeEmail } = require('@parapet/input-guard')

async function main() {
  const app = Fastify()
  await app.register(inputGuard, { audit: 'off' })
  const body = { type: 'object', properties: { email: SafeEmail() } }
  app.post('/', { schema: { body } }, async (request) => request.body)
  const send = (payload) =>
    app.inject({
      method: 'POST',
      url: '/',
      headers: { 'content-type': 'application/json' },
      payload,
    })
  assert.deepEqual((await send('{"email":"a@EXAMPLE.com"}')).json(), { email: 'a@example.com' })
  const reply = await send('{"email":"a","email":"b"}')
  assert.equal(reply.statusCode, 400)
  assert.equal(reply.json().code, new PARAPET_INPUT_GUARD_BODY_REFUSED('').code)
  await app.close()

  // `require` returns the module; Fastify uses its default export.
  const other = Fastify()
  await other.register(require('@parapet/input-guard'))
  assert.deepEqual(other.inputGuard.audit(), [])
  await other.close()
}

main()
