import fastifySwagger from '@fastify/swagger'
import * as api from '@parapet/mfa'
import { checkPluginDocs, readReadme } from '@parapet/testing'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify from 'fastify'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'
import { KEYS } from './helpers.ts'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README and the exports tell what the code does', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'mfa',
    names: ['createSqlAccounts', 'createStoreAccounts', 'migrations'],
    options: optionTable,
    events,
  }),
)

await t.test('the routes describe themselves in OpenAPI 3.1', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const info = { title: 'mfa', version: '0.0.0' }
  await app.register(fastifySwagger, { openapi: { openapi: '3.1.0', info } })
  await app.register(api.mfa, {
    issuer: 'Acme',
    keys: KEYS,
    passkeys: { rpId: 'example.org', origins: ['https://example.org'] },
    signIn: async () => ({}),
  })
  await app.ready()
  const description = app.swagger()
  const { valid, errors } = await new Validator().validate({ ...description })
  t.equal(valid, true, JSON.stringify(errors))
  const operations = Object.values(description.paths ?? {}).flatMap((path) =>
    Object.values((path ?? {}) as Record<string, { operationId: string }>),
  )
  t.equal(operations.length, 18)
  for (const { operationId } of operations) t.match(operationId, /^mfa[A-Z]/)
  for (const path of Object.keys(description.paths ?? {})) {
    t.ok(readme.includes(`\`${path.replace(/\{(\w+)\}/g, ':$1')}\``), `the README lists ${path}`)
  }
})
