/** Checks an app: reads it, sends the probes, scans its sources, and judges every line. */
import type { FastifyInstance } from 'fastify'
import { withDeadline } from '@parapet/kit'
import { PARAPET_POSTURE_NOT_READY } from '../errors.ts'
import { judge } from '../checks/judge.ts'
import { checklist } from '../checklist/checklist.ts'
import type { Facts, SourceFacts } from '../facts/facts.ts'
import type { PostureSettings } from '../options.ts'
import { createMatcher, createPublicRoutes } from '../probe/public-routes.ts'
import { walk, type Walked } from '../probe/walk.ts'
import { applyBaseline, readBaseline } from '../report/baseline.ts'
import { createReport, type Report } from '../report/report.ts'
import { auditDependencies } from '../source/audit-dependencies.ts'
import { readProject, scanProject } from '../source/project.ts'
import { loadParser, scanFunction } from '../source/scan.ts'
import { READY_MS } from './load-entry.ts'
import { readPlugins } from './read-plugins.ts'
import { readRoutes, type OwnedRoute } from './read-routes.ts'
import { readServer } from './read-server.ts'
import { createSend } from './send-to-app.ts'

/** Rules that are about one route: they are read from handlers, also where the sources are scanned. */
const OF_ROUTES = new Set(['mass-assignment', 'change', 'account-message', 'filter-member'])

/** Checks an app and returns the report. The app is made ready and left open. */
export async function checkApp(
  app: FastifyInstance,
  settings: PostureSettings,
  target: string,
): Promise<Report> {
  const { clock, onProgress, baseline } = settings
  const start = clock.now()
  const late = () => new PARAPET_POSTURE_NOT_READY(target, READY_MS / 1000)
  await withDeadline(Promise.resolve(app.ready()), READY_MS, late, clock)
  // The timers of deadlines do not keep a process alive, and neither does an app without a port.
  const alive = setInterval(() => {}, 60_000)
  const facts = await gather(app, settings).finally(() => clearInterval(alive))
  const judged = judge(facts, ({ id }, index) =>
    onProgress({ step: 'lines', done: index + 1, all: checklist.length, name: id }),
  )
  const lines =
    baseline === undefined ? judged : applyBaseline(judged, await readBaseline(baseline), facts.now)
  return createReport({ target, facts, lines, durationMs: clock.now() - start })
}

async function gather(app: FastifyInstance, settings: PostureSettings): Promise<Facts> {
  const { clock, skip, active, roles } = settings
  const owned = readRoutes(app)
  const isSkipped = createMatcher(skip)
  const isDeclaredPublic = createPublicRoutes(settings.public)
  const routes = owned.map(({ route }) => route)
  // Before the requests: a token must not be signed while a limiter counts.
  const plugins = await readPlugins(app, owned)
  const server = await readServer(app, owned)
  const walked = await walkApp(
    app,
    routes.filter((route) => !isSkipped(route)),
    settings,
  )
  const { source, project } = await readSources(settings, owned)
  return {
    target: 'app',
    routes,
    ...walked,
    server,
    plugins,
    source,
    project,
    tls: undefined,
    environment: settings.environment ?? process.env,
    isDeclaredPublic,
    isActive: active,
    roles: Object.keys(roles),
    now: clock.now(),
  }
}

function walkApp(
  app: FastifyInstance,
  routes: Facts['routes'],
  { clock, deadlineMs, host, headers, roles, active, budgetMs, onProgress }: PostureSettings,
): Promise<Walked> {
  return walk({
    routes,
    send: createSend(app, deadlineMs, host),
    headers,
    roles,
    isActive: active,
    budgetMs,
    now: () => clock.now(),
    onRoute: (done, all, name) => onProgress({ step: 'routes', done, all, name }),
  })
}

async function readSources(
  { project, audit, onProgress }: PostureSettings,
  owned: readonly OwnedRoute[],
): Promise<Pick<Facts, 'source' | 'project'>> {
  const handlers = await scanHandlers(owned, project === undefined)
  if (project === undefined) return { source: handlers, project: undefined }
  onProgress({ step: 'source', done: 0, all: 1, name: project })
  const scanned = await scanProject(project)
  const facts = await readProject(project, audit ? auditDependencies : undefined)
  onProgress({ step: 'source', done: 1, all: 1, name: project })
  return { source: { ...scanned, hits: [...scanned.hits, ...handlers.hits] }, project: facts }
}

/** Scans handlers and their own hooks; each function once, in the name of its first route. */
async function scanHandlers(owned: readonly OwnedRoute[], isWhole: boolean): Promise<SourceFacts> {
  const parse = await loadParser()
  const seen = new Set<unknown>()
  const hits = owned.flatMap(({ route: { name, handler, hooks }, errorHandler }) => {
    const pieces = [handler, ...(isWhole ? hooks : [])].flatMap((piece) => piece ?? [])
    const texts = pieces.filter(({ identity }) => !seen.has(identity)).map(({ text }) => text)
    for (const { identity } of pieces) seen.add(identity)
    if (isWhole && typeof errorHandler === 'function' && !seen.has(errorHandler)) {
      seen.add(errorHandler)
      texts.push(Function.prototype.toString.call(errorHandler))
    }
    return texts.flatMap((text) => scanFunction(parse, name, text))
  })
  return {
    hits: isWhole ? hits : hits.filter(({ rule }) => OF_ROUTES.has(rule)),
    files: seen.size,
    skipped: [],
  }
}
