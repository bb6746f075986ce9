import fastifySwagger from '@fastify/swagger'
import * as api from '@parapet/anomaly-guard'
import { checkPluginDocs } from '@parapet/testing'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify from 'fastify'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'
import register from './reference-app.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, the docblocks and the exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'anomalyGuard',
    names: [
      'IsolationForest',
      'acceptForgedAddresses',
      'createInspector',
      'createRedisStore',
      'fitForest',
      'readForest',
      'readScikitLearnForest',
      'rules',
      'writeForest',
    ],
    options: optionTable,
    events,
  }),
)

await t.test('the routes describe themselves in OpenAPI 3.1', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const info = { title: 'anomaly-guard', version: '0.0.0' }
  await app.register(fastifySwagger, { openapi: { openapi: '3.1.0', info } })
  await register(app)
  await app.ready()
  const description = app.swagger()
  const { valid, errors } = await new Validator().validate({ ...description })
  t.equal(valid, true, JSON.stringify(errors))
  const paths = Object.keys(description.paths ?? {})
  t.same(paths.toSorted(), ['/challenge', '/challenge/answer', '/challenge/new'])
})
