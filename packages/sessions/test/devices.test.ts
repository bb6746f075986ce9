/** The devices in the list of sessions, and logins from new ones. */
import t from 'tap'
import { deviceLabel } from '../src/users/device-label.ts'
import { buildAccounts, password } from './accounts.ts'
import { eventsOf, refusalOf } from './build.ts'

const firefox = 'Mozilla/5.0 (X11; Linux x86_64; rv:144.0) Gecko/20100101 Firefox/144.0'
const safari =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1'

await t.test('a user agent has a name that its owner knows', async (t) => {
  t.equal(deviceLabel(firefox), 'Firefox on Linux')
  t.equal(deviceLabel(safari), 'Safari on iPhone')
  t.equal(deviceLabel('curl/8.5.0'), 'curl')
  t.equal(deviceLabel(undefined), 'Unknown device')
  t.equal(deviceLabel('Mozilla/5.0'), 'Unknown device')
  t.equal(deviceLabel(`${'x '.repeat(50_000)}Safari/`), 'Unknown device')
})

await t.test('the list has names, places and last use', async (t) => {
  const places: string[] = []
  const placeOf = async (ip: string) => {
    places.push(ip)
    return 'Lyon, France'
  }
  const { app, post, clock } = await buildAccounts(t, { placeOf })
  const login = await app.inject({
    method: 'POST',
    url: '/auth/login',
    body: { login: 'ada@example.com', password },
    headers: { 'user-agent': firefox },
  })
  const { access_token: token, refresh_token } = login.json<Record<string, string>>()
  clock.advance(60_000)
  await post('/refresh', { refresh_token })
  const list = async () =>
    (
      await app.inject({ url: '/auth/sessions', headers: { authorization: `Bearer ${token}` } })
    ).json<{ sessions: Record<string, unknown>[] }>().sessions
  const [session] = await list()
  t.match(session, { label: 'Firefox on Linux', place: 'Lyon, France', lastSeenAt: clock.now() })
  t.same(places, ['127.0.0.1'])
  const named = await post(
    `/sessions/${String(session!['id'])}`,
    { name: 'Work laptop' },
    token,
    'PATCH',
  )
  t.equal(named.statusCode, 204)
  t.match(await list(), [{ name: 'Work laptop', label: 'Firefox on Linux' }])
  const eve = await app.sessions.start({ id: 'eve', roles: [] })
  const foreign = await post(`/sessions/${eve.sessionId}`, { name: 'mine' }, token, 'PATCH')
  t.same(refusalOf(foreign), [404, 'PARAPET_SESSIONS_NOT_FOUND'])
  const odd = await post(`/sessions/${String(session!['id'])}`, { name: 'a\nb' }, token, 'PATCH')
  t.equal(odd.statusCode, 400)
})

await t.test(
  'a login from another kind of device or network is reported, the first one is not',
  async (t) => {
    const { app, mailbox, events } = await buildAccounts(t)
    const logIn = (userAgent: string, remoteAddress = '192.0.2.1') =>
      app.inject({
        method: 'POST',
        url: '/auth/login',
        body: { login: 'ada@example.com', password },
        headers: { 'user-agent': userAgent },
        remoteAddress,
      })
    await logIn(firefox)
    await logIn(firefox.replaceAll('144', '145'), '192.0.77.1')
    t.same(
      eventsOf(events, 'sessions.new_device'),
      [],
      'an update, or another address nearby, is no news',
    )
    await logIn(safari)
    t.match(await mailbox.next('new_device'), {
      details: { label: 'Safari on iPhone', ip: '192.0.2.1' },
    })
    await logIn(firefox, '198.51.100.1')
    await mailbox.next('new_device')
    await logIn(safari)
    t.equal(eventsOf(events, 'sessions.new_device').length, 2)
  },
)

await t.test('a place or a notice that fails does not refuse a login', async (t) => {
  const { post } = await buildAccounts(t, {
    placeOf: () => Promise.reject(new Error('no database of places')),
  })
  t.equal((await post('/login', { login: 'ada@example.com', password })).statusCode, 200)
})
