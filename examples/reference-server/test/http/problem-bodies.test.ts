/** A hook that fails while an error is sent: the body is a problem nevertheless. */
import { problemErrorHandler } from '@parapet/kit'
import createError from '@fastify/error'
import Fastify from 'fastify'
import t from 'tap'
import { problemBodies } from '../../src/http/problem-bodies.ts'

const Refused = createError('PARAPET_TEST_REFUSED', 'No', 403)
const Unrecorded = createError('PARAPET_TEST_UNRECORDED', 'spool /var/lib/x is full', 503)

await t.test('a refusal that cannot be recorded is a problem without the reason', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  await app.register(problemBodies)
  let failed = 0
  app.addHook('onSend', async () => {
    // As the audit log: the error of its own reply is not recorded again.
    if (failed++ === 0) throw new Unrecorded()
  })
  app.get('/', async () => {
    throw new Refused()
  })
  const { statusCode, headers, body } = await app.inject('/')
  t.equal(statusCode, 503)
  t.equal(headers['content-type'], 'application/problem+json')
  t.equal(headers['content-length'], String(body.length))
  t.match(JSON.parse(body), {
    status: 503,
    code: 'PARAPET_TEST_UNRECORDED',
    title: 'Service Unavailable',
  })
  t.notMatch(body, 'spool')
})

await t.test('a body that a route sends itself stays as it is', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(problemBodies)
  app.get('/', async (_request, reply) => reply.code(503).send({ ready: false }))
  const { headers, body } = await app.inject('/')
  t.match(headers['content-type'], /^application\/json/)
  t.equal(body, '{"ready":false}')
})
