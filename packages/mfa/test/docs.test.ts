import fastifySwagger from '@fastify/swagger'
import * as api from '@parapet/mfa'
import { checkPluginDocs } from '@parapet/testing'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify from 'fastify'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'
import register from './reference-app.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, docblocks and exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'mfa',
    names: [
      'createRedisStore',
      'createSqlAccounts',
      'createSqlClient',
      'createStoreAccounts',
      'generateCipherKey',
      'migrations',
    ],
    options: optionTable,
    events,
  }),
)

await t.test('the routes describe themselves in OpenAPI 3.1', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const info = { title: 'mfa', version: '0.0.0' }
  await app.register(fastifySwagger, { openapi: { openapi: '3.1.0', info } })
  await register(app)
  await app.ready()
  const description = app.swagger()
  const { valid, errors } = await new Validator().validate({ ...description })
  t.equal(valid, true, JSON.stringify(errors))
  const operations = Object.values(description.paths ?? {}).flatMap((path) =>
    Object.values((path ?? {}) as Record<string, { operationId: string; summary: string }>),
  )
  t.equal(operations.length, 18)
  for (const { operationId, summary } of operations) {
    t.match(operationId, /^mfa[A-Z]/)
    t.match(summary, /^[A-Z].{5,}/, `${operationId} has a summary`)
  }
})
