import { randomUUID } from 'node:crypto'

const params = {
  type: 'object',
  required: ['id'],
  properties: { id: { type: 'string', format: 'uuid' } },
}
const body = {
  type: 'object',
  additionalProperties: false,
  required: ['title'],
  properties: {
    title: { type: 'string', minLength: 1, maxLength: 200 },
    done: { type: 'boolean' },
  },
}
const todo = {
  type: 'object',
  properties: { id: { type: 'string' }, title: { type: 'string' }, done: { type: 'boolean' } },
}

export default async function todos(app) {
  const store = new Map()
  app.addHook('onRequest', app.authenticate)

  const ownTodo = (request) => {
    const found = store.get(request.params.id)
    return found?.owner === request.user.sub ? found : undefined
  }

  app.get('/', { schema: { response: { 200: { type: 'array', items: todo } } } }, async (request) =>
    [...store.values()].filter(({ owner }) => owner === request.user.sub),
  )
  app.get('/:id', { schema: { params, response: { 200: todo } } }, async (request, reply) => {
    const found = ownTodo(request)
    return found ?? reply.code(404).send({ error: 'Not found' })
  })
  app.post('/', { schema: { body, response: { 201: todo } } }, async (request, reply) => {
    const created = {
      id: randomUUID(),
      owner: request.user.sub,
      title: request.body.title,
      done: request.body.done ?? false,
    }
    store.set(created.id, created)
    return reply.code(201).send(created)
  })
  app.delete(
    '/:id',
    { schema: { params, response: { 204: { type: 'null' } } } },
    async (request, reply) => {
      if (ownTodo(request)) store.delete(request.params.id)
      return reply.code(204).send()
    },
  )
}
