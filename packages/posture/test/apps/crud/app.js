'use strict'
// A bare CRUD service in the style of fastify-cli: no plugin, no login, schemas on every route.

const id = {
  type: 'object',
  required: ['id'],
  properties: { id: { type: 'integer', minimum: 1, maximum: 2147483647 } },
}
const note = {
  type: 'object',
  additionalProperties: false,
  required: ['title'],
  properties: {
    title: { type: 'string', maxLength: 200 },
    text: { type: 'string', maxLength: 10000 },
  },
}
const saved = {
  type: 'object',
  properties: { id: { type: 'integer' }, title: { type: 'string' }, text: { type: 'string' } },
}
const page = {
  type: 'object',
  properties: { limit: { type: 'integer', minimum: 1, maximum: 100, default: 20 } },
}

module.exports = async function (fastify, opts) {
  const notes = new Map()
  let last = 0

  fastify.get(
    '/notes',
    { schema: { querystring: page, response: { 200: { type: 'array', items: saved } } } },
    async (req) => [...notes.values()].slice(0, req.query.limit),
  )

  fastify.get(
    '/notes/:id',
    { schema: { params: id, response: { 200: saved } } },
    async (req, reply) => {
      const found = notes.get(req.params.id)
      if (!found) return reply.code(404).send({ message: 'Not found' })
      return found
    },
  )

  fastify.post(
    '/notes',
    { schema: { body: note, response: { 201: saved } } },
    async (req, reply) => {
      const { title, text = '' } = req.body
      const created = { id: ++last, title, text }
      notes.set(created.id, created)
      return reply.code(201).send(created)
    },
  )

  fastify.put(
    '/notes/:id',
    { schema: { params: id, body: note, response: { 200: saved } } },
    async (req, reply) => {
      if (!notes.has(req.params.id)) return reply.code(404).send({ message: 'Not found' })
      const { title, text = '' } = req.body
      const changed = { id: req.params.id, title, text }
      notes.set(changed.id, changed)
      return changed
    },
  )

  fastify.delete(
    '/notes/:id',
    { schema: { params: id, response: { 204: { type: 'null' } } } },
    async (req, reply) => {
      notes.delete(req.params.id)
      return reply.code(204).send()
    },
  )

  fastify.get('/health', async () => ({ ok: true }))
}
