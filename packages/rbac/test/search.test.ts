/** Lists and searches agree with decisions. */
import { createManualClock, problemErrorHandler, type Principal } from '@parapet/kit'
import {
  and,
  createMemoryRelations,
  definePolicy,
  eq,
  exists,
  isIn,
  or,
  rbac,
  related,
  type AuthzenOptions,
  type RbacOptions,
} from '@parapet/rbac'
import Fastify, { type FastifyInstance } from 'fastify'
import t, { type Test } from 'tap'
import { readFileSync } from 'node:fs'

import { createSignal } from './refusals.ts'

/** The scenario of AuthZEN's search demo: users, records and expected results. */
const demo = JSON.parse(
  readFileSync(new URL('vectors/authzen-search.json', import.meta.url), 'utf8'),
) as {
  readonly users: Readonly<Record<string, readonly [role: string, department: string]>>
  readonly records: Readonly<Record<string, readonly [department: string, owner: string]>>
  readonly subjects: readonly (readonly [record: string, action: string, users: string])[]
  readonly resources: readonly (readonly [user: string, action: string, records: string])[]
  readonly actions: readonly (readonly [user: string, record: string, actions: string])[]
}

const records = definePolicy({
  permissions: ['record:view', 'record:edit', 'record:delete'],
  resources: { record: { id: 'string', department: 'string', owner: 'string' } },
  subject: { department: 'string' },
  roles: {
    person: {
      when: {
        'record:view': ({ resource, subject }) =>
          or(eq(resource.department, subject.department), eq(resource.owner, subject.id)),
        'record:edit': ({ resource, subject }) => eq(resource.owner, subject.id),
        'record:delete': ({ resource, subject }) => eq(resource.owner, subject.id),
      },
    },
    manager: {
      inherits: ['person'],
      when: {
        'record:view': ({ resource }) => exists(resource.id),
        'record:edit': ({ resource, subject }) => eq(resource.department, subject.department),
      },
    },
  },
})

const recordOf = (id: string) => {
  const found = Object.hasOwn(demo.records, id) ? demo.records[id]! : undefined
  return found === undefined ? null : { id, department: found[0], owner: found[1] }
}

const userOf = (id: string): Principal | null => {
  const found = Object.hasOwn(demo.users, id) ? demo.users[id]! : undefined
  return found === undefined ? null : { id, roles: [found[0] === 'manager' ? 'manager' : 'person'] }
}

const page = <T extends { readonly id: string }>(
  all: readonly T[],
  after: string | undefined,
  limit: number,
) => all.filter(({ id }) => after === undefined || id > after).slice(0, limit)

async function build(t: Test, authzen: Partial<AuthzenOptions> = {}): Promise<FastifyInstance> {
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, {
    policy: records,
    resources: {
      record: async ({ after, limit }) =>
        page(
          Object.keys(demo.records).map((id) => recordOf(id)!),
          after,
          limit,
        ),
    },
    authzen: {
      rule: { public: 'a test' },
      baseUrl: 'https://pdp.example.com',
      subject: ({ id }) => userOf(id),
      attributes: ({ id }) => ({ department: demo.users[id]?.[1] }),
      resource: ({ id }) => recordOf(id),
      subjects: async ({ type, after, limit }) =>
        page(
          type === 'user' ? Object.keys(demo.users).map((id) => ({ type, id })) : [],
          after,
          limit,
        ),
      ...authzen,
    },
  })
  return app
}

interface SearchReply {
  readonly page: { readonly next_token: string; readonly count: number }
  readonly results: readonly { readonly id?: string; readonly name?: string }[]
  readonly code?: string
}

async function search(app: FastifyInstance, kind: string, body: object, status = 200) {
  const reply = await app.inject({ method: 'POST', url: `/access/v1/search/${kind}`, body })
  if (reply.statusCode !== status) throw new Error(`${reply.statusCode} ${reply.body}`)
  return reply.json<SearchReply>()
}

const user = (id: string) => ({ type: 'user', id })

const found = ({ results }: SearchReply) => results.map(({ id, name }) => id ?? name).join(' ')

await t.test('all 198 searches of the AuthZEN search demo are answered as published', async (t) => {
  const app = await build(t)
  let count = 0
  const check = async (kind: string, body: object, expected: string, title: string) => {
    count++
    t.equal(found(await search(app, kind, body)), expected, title)
  }
  for (const [record, action, users] of demo.subjects) {
    const body = {
      subject: { type: 'user' },
      action: { name: action },
      resource: { type: 'record', id: record },
    }
    await check('subject', body, users, `who may ${action} ${record}`)
  }
  for (const [id, action, expected] of demo.resources) {
    const body = {
      subject: { type: 'user', id },
      action: { name: action },
      resource: { type: 'record' },
    }
    await check('resource', body, expected, `what ${id} may ${action}`)
  }
  for (const [id, record, actions] of demo.actions) {
    const body = { subject: { type: 'user', id }, resource: { type: 'record', id: record } }
    await check('action', body, actions, `what ${id} may do with ${record}`)
  }
  t.equal(count, 198)
})

await t.test('pages are followed by tokens, and a token belongs to one search', async (t) => {
  const app = await build(t)
  const body = {
    subject: { type: 'user', id: 'erin' },
    action: { name: 'view' },
    resource: { type: 'record' },
  }
  const ids: string[] = []
  let token = ''
  let pages = 0
  do {
    const reply = await search(app, 'resource', {
      ...body,
      page: { limit: 3, ...(token === '' ? undefined : { token }) },
    })
    t.ok(reply.results.length <= 3)
    t.equal(reply.page.count, reply.results.length)
    ids.push(found(reply))
    token = reply.page.next_token
    pages++
  } while (token !== '')
  t.equal(ids.join(' ').trim(), '105 111 115 117')
  t.ok(pages > 1)
  const { page: first } = await search(app, 'resource', { ...body, page: { limit: 1 } })
  t.not(first.next_token, '')
  const none = await search(app, 'resource', { ...body, page: { limit: 0 } })
  t.same([none.results, none.page.next_token === ''], [[], false])
  for (const [change, status] of [
    [{ action: { name: 'edit' }, page: { token: first.next_token } }, 400],
    [{ page: { token: 'x' } }, 400],
    [{ page: { token: 7 } }, 400],
    [{ page: { limit: -1 } }, 400],
    [{ page: { limit: 1.5 } }, 400],
    [{ page: 'next' }, 400],
    [{ subject: { type: 'user' } }, 400],
    [{ resource: 'record' }, 400],
    [{ context: 1 }, 400],
  ] as const) {
    const { code } = await search(app, 'resource', { ...body, ...change }, status)
    t.equal(code, 'PARAPET_RBAC_MALFORMED_EVALUATION', JSON.stringify(change))
  }
})

await t.test('what is unknown has no results, and properties of callers are ignored', async (t) => {
  const app = await build(t)
  const view = { action: { name: 'view' }, resource: { type: 'record' } }
  for (const [kind, body] of [
    ['resource', { ...view, subject: user('nobody') }],
    ['resource', { ...view, subject: user('alice'), action: { name: 'fly' } }],
    ['resource', { ...view, subject: user('alice'), resource: { type: 'constructor' } }],
    ['subject', { ...view, subject: { type: 'robot' }, resource: { type: 'record', id: '101' } }],
    ['subject', { ...view, subject: { type: 'user' }, resource: { type: 'record', id: '9' } }],
    ['action', { subject: user('nobody'), resource: { type: 'record', id: '101' } }],
    ['action', { subject: user('felix'), resource: { type: 'record', id: '101' } }],
  ] as const) {
    const { results, page: last } = await search(app, kind, body)
    t.same([results, last.next_token], [[], ''], JSON.stringify(body))
  }
  const forged = { properties: { department: 'Sales', owner: 'felix' } }
  const body = { ...view, subject: { ...user('felix'), ...forged } }
  t.equal(found(await search(app, 'resource', body)), '104 106 109 111 112 114 118 120')
  const discovery = await app.inject('/.well-known/authzen-configuration')
  t.match(discovery.json(), {
    search_subject_endpoint: 'https://pdp.example.com/access/v1/search/subject',
    search_resource_endpoint: 'https://pdp.example.com/access/v1/search/resource',
    search_action_endpoint: 'https://pdp.example.com/access/v1/search/action',
  })
})

const notes = definePolicy({
  permissions: ['note:read', 'note:write', 'note:audit'],
  resources: { note: { id: 'string', state: 'string' } },
  relations: { note: { reader: { direct: ['user'] }, writer: { direct: ['user'] } } },
  facts: { onCall: 'boolean' },
  roles: {
    user: {
      when: {
        'note:read': ({ resource }) =>
          or(related('note#reader', resource.id), related('note#writer', resource.id)),
        'note:write': ({ resource }) =>
          and(related('note#writer', resource.id), isIn(resource.state, ['draft', 'open'])),
        'note:audit': ({ fact }) => eq(fact.onCall, true),
      },
    },
    chief: { grants: ['note:*'] },
  },
})

async function buildNotes(t: Test, resources?: RbacOptions['resources']) {
  const app = Fastify()
  t.after(() => app.close())
  const relations = createMemoryRelations()
  await app.register(rbac, {
    policy: notes,
    relations,
    facts: { onCall: () => true },
    ...(resources === undefined ? undefined : { resources }),
  })
  const subject = { type: 'user', id: 'ann' } as const
  const add = Array.from({ length: 25 }, (_, index) => ({
    object: { type: 'note', id: `n${String(index).padStart(2, '0')}` },
    relation: index % 2 === 0 ? 'reader' : 'writer',
    subject,
  }))
  await app.rbac.relate({ add })
  return app
}

const ann = { id: 'ann', roles: ['user'] }

await t.test('list needs no lister if only relations decide', async (t) => {
  const app = await buildNotes(t)
  const all = await app.rbac.list(ann, 'note:read')
  t.equal(all.ids.length, 25)
  t.notOk('next' in all)
  const first = await app.rbac.list(ann, 'note:read', 'note', { limit: 10 })
  t.same(first, { ids: all.ids.slice(0, 10), next: 'n09' })
  const rest = await app.rbac.list(ann, 'note:read', 'note', { limit: 20, after: 'n09' })
  t.same(rest, { ids: all.ids.slice(10) })
  t.same(await app.rbac.list({ id: 'bob', roles: ['user'] }, 'note:read'), { ids: [] })
  t.same(await app.rbac.list({ id: 'bob', roles: [] }, 'note:read'), { ids: [] })
  for (const [promise, code] of [
    [app.rbac.list(ann, 'note:write'), 'PARAPET_RBAC_NO_LISTER'],
    [app.rbac.list({ id: 'x', roles: ['chief'] }, 'note:read'), 'PARAPET_RBAC_NO_LISTER'],
    [app.rbac.list(ann, 'note:audit'), 'PARAPET_RBAC_FACT_IN_FILTER'],
    [app.rbac.list(ann, 'note:fly'), 'PARAPET_RBAC_UNKNOWN_PERMISSION'],
    [app.rbac.list(ann, 'note:read', 'note', { limit: 0 }), 'PARAPET_RBAC_INVALID_ARGUMENT'],
    [app.rbac.list(null as never, 'note:read'), 'PARAPET_RBAC_INVALID_ARGUMENT'],
  ] as const) {
    await t.rejects(promise, { code, statusCode: 500 })
  }
})

await t.test('list decides every row of a lister again', async (t) => {
  const rows = Array.from({ length: 40 }, (_, index) => ({
    id: `n${String(index).padStart(2, '0')}`,
    state: ['draft', 'closed', 'open'][index % 3],
  }))
  let calls = 0
  // The lister ignores the filter.
  const app = await buildNotes(t, {
    note: ({ after, limit }) => {
      calls++
      return page(rows, after, limit)
    },
  })
  const expected = rows
    .filter(({ state }, index) => index < 25 && index % 2 === 1 && state !== 'closed')
    .map(({ id }) => id)
  t.same((await app.rbac.list(ann, 'note:write')).ids, expected)
  const pages: string[] = []
  let after: string | undefined
  do {
    const next = await app.rbac.list(ann, 'note:write', 'note', { limit: 3, after })
    pages.push(...next.ids)
    after = next.next
  } while (after !== undefined)
  t.same(pages, expected)
  t.ok(calls > 3)
  t.equal((await app.rbac.list({ id: 'x', roles: ['chief'] }, 'note:write')).ids.length, 40)
})

await t.test('search works without listers, for the searches that need none', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  await app.register(rbac, {
    policy: records,
    authzen: {
      rule: { public: 'a test' },
      baseUrl: 'https://pdp.example.com',
      subject: ({ id }) => userOf(id),
      attributes: () => ({ department: 'Legal' }),
      trustedResourceProperties: ['department'],
    },
  })
  const body = {
    subject: { type: 'user', id: 'bob' },
    action: { name: 'view' },
    resource: { type: 'record', id: '101', properties: { department: 'Legal' } },
  }
  t.equal(found(await search(app, 'action', body)), 'view')
  t.equal(found(await search(app, 'resource', body)), '')
  const reply = await app.inject({ method: 'POST', url: '/access/v1/search/subject', body })
  t.equal(reply.statusCode, 404)
})

await t.test('a lister that never answers ends a list with 503', async (t) => {
  const clock = createManualClock()
  const app = Fastify()
  t.after(() => app.close())
  const called = createSignal()
  await app.register(rbac, {
    policy: notes,
    relations: createMemoryRelations(),
    facts: { onCall: () => true },
    clock,
    resources: {
      note: () => {
        called.send()
        return new Promise<never>(() => {})
      },
    },
  })
  const pending = app.rbac.list({ id: 'x', roles: ['chief'] }, 'note:write')
  await called.received
  clock.advance(1001)
  await t.rejects(pending, { code: 'PARAPET_RBAC_LOOKUP_TIMEOUT', statusCode: 503 })
})
