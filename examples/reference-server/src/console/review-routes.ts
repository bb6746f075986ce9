/** The routes behind the pages: anomalies, containments, access, sessions, keys. */
import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Anomaly, Containment } from '@parapet/anomaly-guard'
import { PARAPET_REFERENCE_NOT_FOUND } from '../errors.ts'
import { pageOfContainments } from '../security/containment-page.ts'
import { readKeyStatus } from './key-status.ts'
import { acting, watching } from './route-config.ts'
import { consoleRoutes } from './schemas.ts'

type App = Parameters<FastifyPluginAsyncTypebox>[0]

/** Adds the routes. */
export function addReviewRoutes(app: App, secretNames: readonly string[]): void {
  addAnomalyRoutes(app)
  addAccessRoutes(app)
  addSessionRoutes(app)
  app.get('/keys', { schema: consoleRoutes.keys, config: watching }, () =>
    readKeyStatus(app, secretNames),
  )
}

/** The page shows so many; older ones are in the audit log. */
const MAX_ANOMALIES = 200

function addAnomalyRoutes(app: App): void {
  const { anomalies, containments } = consoleRoutes
  const { anomaly: guard } = app
  app.get('/anomalies', { schema: anomalies, config: watching }, async () => {
    const latest = (await guard.timeline()).slice(-MAX_ANOMALIES).toReversed()
    const incidents = await readIncidents(app)
    const items = await Promise.all(latest.map((anomaly) => explain(anomaly, incidents)))
    return { items, learning: guard.learning, isShared: guard.isShared }
  })
  app.get('/containments', { schema: containments, config: watching }, async ({ query }) => {
    const { items, total } = pageOfContainments(guard.contain.list(), query)
    return { items: items.map(showContainment), total }
  })

  async function explain(anomaly: Anomaly, incidents: ReadonlyMap<string, string>) {
    const explained = await guard.explain(anomaly.id).catch(() => undefined)
    return {
      ...anomaly,
      sentences: explained?.sentences ?? [],
      incidentId: incidents.get(anomaly.id) ?? null,
      containments: (explained?.containments ?? []).map(showContainment),
    }
  }
}

/** The ids of incidents by those of their anomalies. The guard's own incidents have no page. */
async function readIncidents(app: App): Promise<ReadonlyMap<string, string>> {
  const found = await app.incidents.list({ limit: MAX_ANOMALIES })
  return new Map(
    found.flatMap(({ id, links }) =>
      links.flatMap((link) => (link.kind === 'anomaly' ? [[link.id, id] as const] : [])),
    ),
  )
}

function showContainment({ target, ...containment }: Containment) {
  const { id, kind, createdAt, until, reason, by, anomalyId, level } = containment
  const shown = { id, kind, createdAt, until, reason, by, level }
  return {
    ...shown,
    anomalyId: anomalyId ?? null,
    target: { type: target.type, value: target.value },
  }
}

function addAccessRoutes(app: App): void {
  const { access, explain } = consoleRoutes
  app.get('/access', { schema: access, config: watching }, async () => {
    const { policyDigest, roles, rows } = app.rbac.matrix()
    const { permissions } = app.rbac.policy
    return {
      policyDigest,
      revision: app.rbac.revision,
      roles: [...roles],
      permissions: [...permissions],
      rows: rows.map((row) => ({ ...row, roles: { ...row.roles } })),
    }
  })
  app.get('/access/explain', { schema: explain, config: watching }, async (request) => {
    const { role, permission } = request.query
    const { permissions } = app.rbac.policy
    const known = permissions.find((each) => each === permission)
    if (known === undefined) throw new PARAPET_REFERENCE_NOT_FOUND()
    const principal = { id: 'a principal with this role', roles: [role] }
    const explained = app.rbac.explain(principal, known)
    const { allowed, reason, text, grants, denies, nearestMisses } = explained
    const traces = { grants: grants.map(copy), denies: denies.map(copy) }
    return { allowed, reason, text, ...traces, nearestMisses: [...nearestMisses] }
  })
}

function copy(trace: object): object {
  return { ...trace }
}

function addSessionRoutes(app: App): void {
  const { sessions, endSession } = consoleRoutes
  const path = '/users/:id/sessions'
  app.get(path, { schema: sessions, config: watching }, async (request) => ({
    items: (await app.sessions.list(request.params.id)).map((session) => ({
      ...session,
      amr: [...session.amr],
    })),
  }))
  const ending = { schema: endSession, config: acting('session.end') }
  app.delete(`${path}/:session`, ending, async (request, reply) => {
    const { id, session: sessionId } = request.params
    const known = (await app.sessions.list(id)).some((session) => session.id === sessionId)
    if (!known) throw new PARAPET_REFERENCE_NOT_FOUND()
    await app.sessions.revoke({ sessionId }, 'ended by an operator in the console')
    return reply.code(204).send(null)
  })
}
