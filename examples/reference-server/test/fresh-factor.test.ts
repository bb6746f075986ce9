/** What only administrators change asks for a second factor that was shown recently. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { FastifyInstance, RouteOptions } from 'fastify'
import t from 'tap'
import { createTestApp, openDatabase } from './support/test-app.ts'

/** Routes that do not need the rule. */
const exceptions: Readonly<Record<string, string>> = {
  'POST /api/v1/incidents/simulate': 'it changes nothing',
  'DELETE /api/v1/mfa/users/:id': 'the plugin itself asks for a fresh factor',
}

await t.test('every change that only administrators make needs a fresh factor', async (t) => {
  const routes: RouteOptions[] = []
  // The rules of a route are complete when the app is ready.
  const watch = (message: unknown): void => {
    const { fastify } = message as { readonly fastify: FastifyInstance }
    fastify.addHook('onRoute', (route) => void routes.push(route))
  }
  subscribe('fastify.initialization', watch)
  const { app } = await createTestApp(t, await openDatabase(t))
  unsubscribe('fastify.initialization', watch)
  const ages = new Map(
    routes.map(({ method, url, config }) => {
      const { mfa } = (config ?? {}) as { readonly mfa?: { readonly maxAgeSeconds?: number } }
      return [`${String(method)} ${url}`, mfa?.maxAgeSeconds ?? Infinity]
    }),
  )
  const isForAdministrators = ({
    anonymous,
    roles,
  }: ReturnType<typeof app.rbac.matrix>['rows'][number]) =>
    anonymous === 'deny' &&
    Object.entries(roles).every(([role, decision]) => (role === 'admin') === (decision !== 'deny'))
  const changes = app.rbac
    .matrix()
    .rows.filter((row) => !/^(?:GET|HEAD|OPTIONS)$/.test(row.method) && isForAdministrators(row))
    .map(({ method, url }) => `${method} ${url}`)
  t.ok(changes.length > 30, `${changes.length} routes`)
  const stale = changes.filter((route) => !(ages.get(route)! <= 900))
  t.same(stale, Object.keys(exceptions))
})
