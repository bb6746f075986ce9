/** Requests of good and of bad clients, so that the pages of the console have something to show. */
import type { FastifyInstance, InjectOptions } from 'fastify'
import { API } from '../../src/http/api.ts'

const agents = ['Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0', 'curl/8.14.1']

/** One minute of traffic. @param minute from 0 to 59 */
export async function fillWithLife(app: FastifyInstance, minute: number): Promise<void> {
  const send = (request: InjectOptions & { readonly url: string }, remoteAddress: string) =>
    app.inject({ ...request, remoteAddress, headers: { 'user-agent': agents[minute % 2]! } })
  // A gentle wave of readers.
  const readers = 14 + Math.round(9 * Math.sin(minute / 7) + 5 * Math.sin(minute / 2.3))
  for (let at = 0; at < readers; at++) {
    await send({ url: at % 3 === 0 ? `${API}/artists` : `${API}/content` }, `198.51.100.${at % 40}`)
  }
  await send({ url: `${API}/users` }, '198.51.100.7')
  if (minute % 9 === 0) await send({ url: '/wp-login.php' }, '192.0.2.14')
  // From here on, anomalies are findings of incidents.
  if (minute === 36) await app.anomaly.promote('*', { by: 'on-call', mode: 'alert' })
  if (minute === 38 || minute === 39) await scan(send)
  if (minute === 51) await stuff(send)
  if (minute === 55) await probe(send)
  if (minute === 57) await contain(app)
}

type Send = (request: InjectOptions & { readonly url: string }, address: string) => Promise<unknown>

async function scan(send: Send): Promise<void> {
  for (let at = 0; at < 24; at++) await send({ url: `/.git/${at}` }, '192.0.2.14')
}

async function stuff(send: Send): Promise<void> {
  for (let at = 0; at < 26; at++) {
    const payload = { login: `person${at}@example.com`, password: 'Password1!' }
    const request = { method: 'POST', url: `${API}/auth/login`, payload } as const
    await send(request, `203.0.113.${60 + (at % 3)}`)
  }
}

async function probe(send: Send): Promise<void> {
  const probes = [
    "' OR 1=1 --",
    '<script>alert(1)</script>',
    '../../etc/passwd',
    '${jndi:ldap://x}',
  ]
  for (const text of probes) {
    await send({ url: `${API}/artists?q=${encodeURIComponent(text)}` }, '203.0.113.66')
    const request = {
      method: 'POST',
      url: `${API}/auth/login`,
      payload: { login: text, password: text },
    } as const
    await send(request, '203.0.113.66')
  }
}

async function contain(app: FastifyInstance): Promise<void> {
  const { contain } = app.anomaly
  const hour = 3_600_000
  await contain.blockAddress('203.0.113.66', {
    reason: 'SQL injection probes on /artists',
    by: 'on-call',
    ttlMs: hour,
  })
  await contain.blockAddress('192.0.2.0/24', {
    reason: 'scans for .git and WordPress',
    by: 'on-call',
    ttlMs: 24 * hour,
  })
  await contain.challenge('203.0.113.60', {
    reason: 'credential stuffing',
    by: 'on-call',
    ttlMs: hour / 2,
  })
}
