/** Attacks by users who want more than their role allows, and by other sites. */
import { must, requireRefusal, type Step } from '../step.ts'
import { tokenOf } from '../target.ts'

export const roleTampering: Step = {
  name: 'Role tampering',
  tries: 'a viewer makes itself an administrator, three ways, and deletes a user',
  seenIn: 'console › live feed: rbac.denied',
  async run(target) {
    const token = await tokenOf(target, 'viewer')
    const client = target.nextClient()
    const { body } = await client.send('GET', '/api/v1/users/me', { token })
    const own = `/api/v1/users/${String(body['id'])}`
    const roles = { roles: ['admin'] }
    requireRefusal(await client.send('PATCH', own, { token, body: roles }), 400)
    requireRefusal(await client.send('PUT', `${own}/roles`, { token, body: roles }), 403)
    const user = { email: 'root@example.com', displayName: 'R', password: 'correct horse battery' }
    const registration = { ...user, ...roles }
    requireRefusal(await client.send('POST', '/api/v1/users', { body: registration }), 400)
    return requireRefusal(await client.send('DELETE', own, { token }), 403)
  },
}

export const foreignRows: Step = {
  name: 'Insecure direct object references',
  tries: "reads another user's account and booking by their ids, and a changed cursor",
  seenIn: 'console › live feed: rbac.denied',
  async run(target) {
    const admin = await tokenOf(target, 'admin')
    const editor = await tokenOf(target, 'editor')
    const client = target.nextClient()
    const users = await client.send('GET', '/api/v1/users', { token: admin })
    const [first] = users.body['items'] as readonly { readonly id: string }[]
    const account = await client.send('GET', `/api/v1/users/${first!.id}`, { token: editor })
    const denied = requireRefusal(account, 403)
    const bookings = await client.send('GET', '/api/v1/bookings', { token: admin })
    const [booking] = bookings.body['items'] as readonly { readonly id: string }[]
    must(booking !== undefined, 'the demo has no booking')
    const path = `/api/v1/bookings/${booking.id}`
    const hidden = requireRefusal(await client.send('GET', path, { token: editor }), 404)
    const cursor = '/api/v1/bookings?cursor=AAAAAAAAAAAAAAAAAAAAAB'
    requireRefusal(await client.send('GET', cursor, { token: editor }), 400)
    return `${denied}; ${hidden}, by the database itself`
  },
}

export const crossSite: Step = {
  name: 'Cross-site request forgery',
  tries: 'a page of another site sends a form in the name of the visitor',
  seenIn: 'console › live feed: security_headers.request_isolated',
  async run(target) {
    const token = await tokenOf(target, 'viewer')
    const headers = { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }
    const body = { locale: 'xx' }
    const sent = await target
      .nextClient()
      .send('PATCH', '/api/v1/settings', { token, headers, body })
    return requireRefusal(sent, 403)
  },
}

export const massExport: Step = {
  name: 'Mass export',
  tries: 'a viewer exports all users; then a stolen administrator token exports them 11 times',
  seenIn: 'console › anomalies: mass_export; audit trail: data.export',
  async run(target) {
    const client = target.nextClient()
    const path = '/api/v1/export/users'
    const viewer = await client.send('GET', path, { token: await tokenOf(target, 'viewer') })
    const denied = requireRefusal(viewer, [401, 403])
    const token = await tokenOf(target, 'admin')
    let exports = 0
    while (exports < 11 && (await client.send('GET', path, { token })).status === 200) exports++
    const list = await target.nextClient().send('GET', '/api/v1/security/anomalies', { token })
    const found = (list.body['items'] as readonly { readonly rule: string }[]).some(
      ({ rule }) => rule === 'mass-export',
    )
    must(found, `${exports} exports, and nobody noticed`)
    return `${denied}; the ${exports}th export of the administrator raised the alarm`
  },
}

export const scanning: Step = {
  name: 'Scanning',
  tries: 'one address asks for twenty paths of well-known weaknesses',
  seenIn: 'console › block list: the address, with the reason scanning',
  async run(target) {
    const attacker = target.nextClient()
    const names = [
      '.git/config',
      '.env',
      'wp-login.php',
      'actuator/env',
      'server-status',
      'phpinfo.php',
    ]
    for (let index = 0; index < 20; index++) {
      const { status } = await attacker.send(
        'GET',
        `/${names[index % names.length]}?${index}/${index}`,
      )
      must(status === 404 || status === 403, `a path answered ${status}`)
      await attacker.send('GET', `/backup-${index}.zip`)
    }
    return requireRefusal(await attacker.send('GET', '/api/v1/artists'), 403)
  },
}
