// Compiled with strict settings against the packed declarations. Every line checks a type.
import plugin, {
  and,
  before,
  definePolicy,
  eq,
  exists,
  fromMap,
  has,
  isIn,
  lt,
  rbac,
  testMatrix,
  type Filter,
  type Rbac,
  type RbacOptions,
} from '@parapet/rbac'
import Fastify from 'fastify'

const policy = definePolicy({
  permissions: ['doc:read', 'doc:write', 'org:member:invite'],
  resources: {
    doc: { ownerId: 'string', size: 'number', at: 'time', readers: 'string[]', live: 'boolean' },
  },
  subject: { department: 'string' },
  facts: { friend: 'boolean' },
  roles: {
    viewer: { grants: ['doc:read', 'org:member:*', 'org:*'] },
    author: {
      inherits: ['viewer'],
      when: {
        'doc:write': ({ resource, subject, fact, environment }) =>
          and(
            eq(resource.ownerId, subject.id),
            eq(subject.department, 'sales'),
            eq(fact.friend, true),
            lt(resource.size, 10),
            before(environment.time, resource.at),
            isIn(resource.ownerId, ['a', 'b']),
            has(resource.readers, subject.id),
          ),
      },
    },
  },
  deny: [{ id: 'd', permissions: ['doc:*'], when: ({ resource }) => eq(resource.live, false) }],
})
const options: RbacOptions = { policy, maxStalenessMs: 60_000, facts: { friend: async () => true } }
const app = Fastify()
await app.register(plugin, options)

export const decorated: Rbac = app.rbac
export const allowed: boolean = app.rbac.hasPermission(['viewer'], 'doc:read')
app.get('/docs', { config: { rbac: 'doc:read' } }, (request, reply) => {
  const filter: Filter = request.rbac.filter('doc:read')
  return reply.send(filter.sql({ columns: { ownerId: 'owner_id' } }).text)
})
app.put(
  '/docs/:id',
  {
    config: {
      rbac: {
        permission: 'doc:write',
        resource: (request) => ({ ownerId: request.ip }),
        hideAs: 404,
      },
    },
  },
  (request, reply) => reply.send(request.rbac.resource),
)
app.securityEvents.on('rbac.denied', ({ details }) => app.log.info({ reason: details.reason }))
await testMatrix(app)

// @ts-expect-error a rule that does not exist
app.get('/rule', { config: { rbac: { pubic: 'reason' } } }, async () => null)
// @ts-expect-error a reason that is not a text
app.get('/public', { config: { rbac: { public: true } } }, async () => null)
// @ts-expect-error a public route cannot hide anything
app.get('/hidden', { config: { rbac: { public: 'reason', hideAs: 404 } } }, async () => null)
// @ts-expect-error another status than 404
app.get('/gone', { config: { rbac: { permission: 'doc:read', hideAs: 410 } } }, async () => null)
// @ts-expect-error an option that does not exist
await app.register(rbac, { polcy: policy })
// @ts-expect-error an event that does not exist
app.securityEvents.on('rbac.deny', () => {})

const base = {
  permissions: ['doc:read'],
  resources: { doc: { ownerId: 'string', size: 'number' } },
} as const
definePolicy({
  ...base,
  roles: {
    // @ts-expect-error a grant that does not exist
    a: { grants: ['doc:raed'] },
    // @ts-expect-error a wildcard that covers no permission
    b: { grants: ['dco:*'] },
    // @ts-expect-error a role that does not exist
    c: { inherits: ['ghost'] },
    d: {
      when: {
        // @ts-expect-error an attribute that does not exist
        'doc:read': ({ resource }) => exists(resource.ownr as never),
      },
    },
    e: {
      when: {
        // @ts-expect-error a comparison of a string with a number
        'doc:read': ({ resource }) => eq(resource.ownerId, 7),
      },
    },
    f: {
      when: {
        // @ts-expect-error an order comparison of strings
        'doc:read': ({ resource }) => lt(resource.ownerId, 7),
      },
    },
  },
})
definePolicy({
  permissions: ['doc:read', 'note:read'],
  resources: { doc: { id: 'string', hold: 'boolean' }, note: { id: 'string' } },
  subject: { team: 'string' },
  environment: { load: 'number' },
  facts: { friend: 'boolean' },
  roles: {
    a: {
      when: {
        '*': ({ resource, subject }) => eq(resource.id, subject.id),
        // @ts-expect-error an attribute of another type of resource
        'note:*': ({ resource }) => exists(resource.hold as never),
        // @ts-expect-error an attribute of the subject that is not declared
        'doc:read': ({ subject }) => exists(subject.taem as never),
        // @ts-expect-error an attribute of the environment that is not declared
        'doc:*': ({ environment }) => exists(environment.laod as never),
        // @ts-expect-error a fact that is not declared
        'note:read': ({ fact }) => exists(fact.freind as never),
        // @ts-expect-error a condition on a permission that does not exist
        'doc:raed': eq({ ref: 'subject.id' }, 'x'),
      },
    },
  },
  deny: [
    { id: 'd1', permissions: ['doc:*'], when: ({ resource }) => eq(resource.hold, true) },
    // @ts-expect-error an attribute that no type of resource has
    { id: 'd2', permissions: ['doc:*'], when: ({ resource }) => exists(resource.hodl as never) },
    // @ts-expect-error a permission that does not exist
    { id: 'd3', permissions: ['doc:raed'] },
    // @ts-expect-error a role that does not exist
    { id: 'd4', permissions: ['*'], roles: ['ghost'] },
  ],
  // @ts-expect-error a role that does not exist
  sod: [{ id: 's', roles: ['a', 'ghost'] }],
  // @ts-expect-error a permission that does not exist
  fields: { doc: { id: 'doc:raed' } },
})
// @ts-expect-error roles as one string
fromMap({ 'doc:read': 'viewer' })
await app.close()
