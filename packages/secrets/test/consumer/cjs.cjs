// Runs in a bare CommonJS app that has installed the packed package.
const assert = require('node:assert/strict')
const Fastify = require('fastify')
const { secrets, createEnvironmentProvider, PARAPET_SECRETS_UNKNOWN } = require('@parapet/secrets')

async function main() {
  const app = Fastify()
  const provider = createEnvironmentProvider({ KEY: 'w8Zc4rQ1yN6uHs3EpXo0' })
  await app.register(secrets, { secrets: { KEY: { provider } } })
  assert.equal(JSON.stringify(app.secrets.get('KEY').current), '"[secret]"')
  assert.throws(() => app.secrets.get('NONE'), { code: new PARAPET_SECRETS_UNKNOWN('NONE').code })
  await app.close()

  // `require` returns the module; Fastify uses its default export.
  const other = Fastify()
  await other.register(require('@parapet/secrets'), {})
  assert.deepEqual(await other.secrets.doctor(), [])
  await other.close()
}

main()
