/** API keys act for their owner as of now, and end with the owner's sessions. */
import type { SessionUser } from '@parapet/sessions'
import t from 'tap'
import { build } from './build.ts'

await t.test('an API key has the rights that its owner has now, and never more', async (t) => {
  const users = new Map<string, SessionUser>([
    ['ada', { id: 'ada', roles: ['editor', 'author'], permissions: ['a'], tenantId: 'acme' }],
  ])
  const { app, ask, refuses } = await build(t, { findUser: async (id) => users.get(id) ?? null })
  const { apiKeys } = app.sessions
  const all = await apiKeys.create({ ownerId: 'ada', name: 'all roles', scopes: ['content:write'] })
  const one = await apiKeys.create({
    ownerId: 'ada',
    name: 'one role',
    roles: ['author', 'admin'],
    scopes: [],
  })
  const principalOf = async (text: string) =>
    (JSON.parse((await ask(text)).body) as { principal: unknown }).principal
  t.same(await principalOf(all.text), {
    id: 'ada',
    roles: ['editor', 'author'],
    permissions: ['a'],
    tenantId: 'acme',
    scopes: ['content:write'],
    amr: ['api-key'],
  })
  t.match(
    await principalOf(one.text),
    { roles: ['author'], scopes: [] },
    'admin is not a role of hers',
  )
  users.set('ada', { id: 'ada', roles: ['reader'] })
  t.match(await principalOf(all.text), { roles: ['reader'] }, 'she was demoted')
  t.same(((await principalOf(one.text)) as SessionUser).roles, [])
  users.clear()
  await refuses(all.text, 'the owner is gone')
  t.equal((await apiKeys.list('ada')).length, 2, 'the keys are not deleted by that')
})

await t.test('while owners cannot be looked up, an API key gets 503', async (t) => {
  let isDown = false
  const findUser = async (id: string) => {
    if (isDown) throw new Error('the database is down')
    return { id, roles: [] }
  }
  const { app, ask } = await build(t, { findUser })
  const { text } = await app.sessions.apiKeys.create({ ownerId: 'ada', name: 'n', scopes: [] })
  t.equal((await ask(text)).status, 200)
  isDown = true
  const { status, code, handlerRan } = await ask(text)
  t.same([status, code, handlerRan], [503, 'PARAPET_SESSIONS_UNAVAILABLE', false])
})

await t.test('revoking a user revokes the API keys, unless they are to be kept', async (t) => {
  const { app, ask, refuses, start } = await build(t)
  const { sessionId } = await start()
  const given = { ownerId: 'user-1', name: 'n', scopes: [] }
  const { text } = await app.sessions.apiKeys.create(given)
  await app.sessions.revoke({ userId: 'user-1', exceptSessionId: sessionId })
  t.equal((await ask(text)).status, 200, 'the other sessions were ended')
  await app.sessions.revoke({ userId: 'user-1', keepApiKeys: true })
  t.equal((await ask(text)).status, 200, 'they are kept')
  await app.sessions.revoke({ userId: 'user-1' })
  await refuses(text)
})
