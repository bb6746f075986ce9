/** One server of the benchmark, by name: bare Fastify, the usual libraries, or plugins of this family. */
import { rmSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { rbac } from '@parapet/rbac'
import { serveMeasured } from '@parapet/testing'
import Fastify from 'fastify'
import { buildApp } from '../../src/app.ts'
import { createArtists } from '../../src/artists/repository.ts'
import { Artist, artistRoutes } from '../../src/artists/schemas.ts'
import { readConfig } from '../../src/config/environment.ts'
import { addAudit, addHeaders, addSessions, everything, family } from './family.ts'
import { ARTIST_PAGE } from './fixtures.ts'
import { addRoute, directory, policy, pool, user, type Setup } from './shared.ts'
import { addJwt, addUsualHeaders, usual } from './usual.ts'

const [name = 'bare', databaseUrl = ''] = process.argv.slice(2)

const setups: Readonly<Record<string, () => Promise<Setup>>> = {
  async bare() {
    const app = Fastify()
    addRoute(app)
    return { app }
  },
  async helmet() {
    const app = Fastify()
    await addUsualHeaders(app)
    addRoute(app)
    return { app }
  },
  async 'security-headers'() {
    const app = Fastify()
    await addHeaders(app)
    addRoute(app)
    return { app }
  },
  async rbac() {
    const app = Fastify()
    await app.register(rbac, { policy, principal: () => user })
    addRoute(app, { rbac: 'orders:read' })
    return { app }
  },
  async 'audit-log'() {
    const app = Fastify()
    await addAudit(app)
    addRoute(app, { audit: 'order.read' })
    return { app }
  },
  async jwt() {
    const app = Fastify()
    const token = await addJwt(app, false)
    addRoute(app)
    return { app, token }
  },
  async 'jwt-cache'() {
    const app = Fastify()
    const token = await addJwt(app, true)
    addRoute(app)
    return { app, token }
  },
  async sessions() {
    const app = Fastify()
    await addSessions(app)
    addRoute(app)
    await app.ready()
    return { app, token: (await app.sessions.start(user)).accessToken }
  },
  usual: () => usual(false),
  'usual-jwt-cache': () => usual(true),
  family: () => family(),
  'family-first-token': () => family(0),
  everything,
  async 'bare-artists'() {
    const app = Fastify()
    app.addSchema(Artist)
    app.get('/', { schema: { response: { 200: artistRoutes.list.response[200] } } }, async () => {
      const { rows } = await pool.query(ARTIST_PAGE.text, [...ARTIST_PAGE.values])
      return { items: rows.slice(0, 20) }
    })
    return { app }
  },
  async artists() {
    const app = await buildApp(
      readConfig({
        DATABASE_URL: databaseUrl,
        DATA_DIR: directory,
        LOG_LEVEL: 'fatal',
        AUDIT_DIR: directory,
        TRUST_PROXY: '127.0.0.1/32',
      }),
    )
    await app.sql.query('DELETE FROM artists')
    const { sql, fieldEncryption, log } = app
    const repository = createArtists({ sql, fieldEncryption, isKeysetSaved: true, log })
    for (let n = 0; n < 25; n++) {
      const phone = `+4930${String(n).padStart(8, '0')}`
      await repository.insert({
        name: `Artist ${n}`,
        genres: ['rock'],
        hourlyRateMinor: 12_000,
        currency: 'EUR',
        phone,
      })
    }
    return { app }
  },
}

const { app, token = '' } = await setups[name]!()
await app.listen({ port: 0, host: '127.0.0.1' })
serveMeasured((app.server.address() as AddressInfo).port, token, async () => {
  await app.close()
  await pool.end()
  rmSync(directory, { recursive: true, force: true })
})
