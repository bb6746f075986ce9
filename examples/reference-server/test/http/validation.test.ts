/** Ids are normalised at the edge, and texts that no database stores are refused. */
import Fastify from 'fastify'
import t from 'tap'
import { schemaController } from '../../src/http/validation.ts'

const id = '01a214b6-9333-73c2-af78-e149552e961f'
const text = { type: 'string' }
const objectOf = (properties: object) => ({ type: 'object', properties })

await t.test('ids have one spelling, in the routes of plugins, too', async (t) => {
  const app = Fastify({ schemaController })
  t.after(() => app.close())
  const body = objectOf({ authorId: { type: 'string', format: 'uuid' }, title: text })
  const schema = { params: objectOf({ id: text }), querystring: objectOf({ of: text }), body }
  app.post('/:id', { schema }, ({ params, query, body }) => ({ params, query, body }))
  const upper = id.toUpperCase()
  const payload = { authorId: upper, title: upper }
  const answer = await app.inject({ method: 'POST', url: `/${upper}?of=${upper}`, payload })
  t.same(answer.json(), { params: { id }, query: { of: id }, body: { authorId: id, title: upper } })
  for (const authorId of [`urn:uuid:${id}`, `{${id}}`, id.replaceAll('-', ''), '']) {
    const refused = await app.inject({ method: 'POST', url: '/a', payload: { authorId } })
    t.match([refused.statusCode, refused.json()], [400, { code: 'FST_ERR_VALIDATION' }], authorId)
  }
})

await t.test('NUL is refused at any depth, in names, too', async (t) => {
  const app = Fastify({ schemaController })
  t.after(() => app.close())
  let handled = 0
  app.post('/', { schema: { body: objectOf({}), querystring: objectOf({}) } }, () => ++handled)
  const headers = { 'content-type': 'application/json' }
  const deep = `${'{"a":'.repeat(5000)}"\\u0000"${'}'.repeat(5000)}`
  for (const value of [{ a: 'a\0' }, { 'a\0': 1 }, { a: [{ b: ['\0'] }] }, deep]) {
    const payload = typeof value === 'string' ? value : JSON.stringify(value)
    const refused = await app.inject({ method: 'POST', url: '/', headers, payload })
    t.match([refused.statusCode, refused.json()], [400, { code: 'FST_ERR_VALIDATION' }])
  }
  const query = await app.inject({ method: 'POST', url: '/?a=%00', payload: {} })
  t.equal(query.statusCode, 400)
  t.equal(handled, 0, 'the handler did not run')
  await app.inject({ method: 'POST', url: '/?a=b', payload: { a: ['\\u0000'] } })
  t.equal(handled, 1, 'an escaped backslash is not NUL')
})
