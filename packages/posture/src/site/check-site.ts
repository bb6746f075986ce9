/** Checks a running app by its address: what clients see of it. Safe requests only, unless `active`. */
import { checklist } from '../checklist/checklist.ts'
import { judge } from '../checks/judge.ts'
import { PARAPET_POSTURE_UNREACHABLE } from '../errors.ts'
import type { Facts } from '../facts/facts.ts'
import type { Send } from '../facts/reply.ts'
import { isSafeMethod, type RouteFacts } from '../facts/route.ts'
import type { PostureSettings } from '../options.ts'
import { createMatcher, createPublicRoutes } from '../probe/public-routes.ts'
import { walk } from '../probe/walk.ts'
import { applyBaseline, readBaseline } from '../report/baseline.ts'
import { createReport, type Report } from '../report/report.ts'
import { auditDependencies } from '../source/audit-dependencies.ts'
import { readProject, scanProject } from '../source/project.ts'
import { readTls } from './read-tls.ts'
import { createSiteSend } from './send-to-site.ts'

const DOCUMENTS = [
  '/openapi.json',
  '/documentation/json',
  '/docs/json',
  '/swagger.json',
  '/api-docs',
]
const MAX_ROUTES = 2_000

/** Checks an address. @param paths further paths to read. @throws PARAPET_POSTURE_UNREACHABLE */
export async function checkSite(
  address: URL,
  paths: readonly string[],
  settings: PostureSettings,
): Promise<Report> {
  const { clock, onProgress, baseline, deadlineMs } = settings
  const start = clock.now()
  const send = createSiteSend(address, deadlineMs)
  const first = await send({ method: 'GET', url: '/', headers: settings.headers })
  if (first === undefined) throw new PARAPET_POSTURE_UNREACHABLE(address.origin)
  const facts = await gather(address, paths, send, settings)
  const judged = judge(facts, ({ id }, index) =>
    onProgress({ step: 'lines', done: index + 1, all: checklist.length, name: id }),
  )
  const lines =
    baseline === undefined ? judged : applyBaseline(judged, await readBaseline(baseline), facts.now)
  return createReport({ target: address.origin, facts, lines, durationMs: clock.now() - start })
}

async function gather(
  address: URL,
  paths: readonly string[],
  send: Send,
  settings: PostureSettings,
): Promise<Facts> {
  const { clock, active, roles, headers, budgetMs, onProgress, project, skip, audit } = settings
  const isSkipped = createMatcher(skip)
  const routes = await listRoutes(send, headers, [address.pathname, ...paths])
  const walked = await walk({
    routes: routes.filter((route) => !isSkipped(route)),
    send,
    headers,
    roles,
    isActive: active,
    budgetMs,
    now: () => clock.now(),
    onRoute: (done, all, name) => onProgress({ step: 'routes', done, all, name }),
  })
  return {
    target: 'site',
    routes,
    ...walked,
    server: undefined,
    plugins: {
      names: new Set(),
      matrix: undefined,
      unbounded: undefined,
      token: undefined,
      guessedKey: undefined,
    },
    source: project === undefined ? undefined : await scanProject(project),
    project:
      project === undefined
        ? undefined
        : await readProject(project, audit ? auditDependencies : undefined),
    tls: address.protocol === 'https:' ? await readTls(address, settings.deadlineMs) : undefined,
    // The variables of this process are not those of the app.
    environment: settings.environment ?? {},
    isDeclaredPublic: createPublicRoutes(settings.public),
    isActive: active,
    roles: Object.keys(roles),
    now: clock.now(),
  }
}

/** The root, the given paths, and what an OpenAPI document lists. */
async function listRoutes(
  send: Send,
  headers: Readonly<Record<string, string>>,
  paths: readonly string[],
): Promise<RouteFacts[]> {
  const found = new Map<string, RouteFacts>()
  const add = (method: string, path: string, schema: RouteFacts['schema'] = {}): void => {
    const [url = '', given = ''] = path.split(/\?(.*)/s)
    const query = Object.fromEntries(new URLSearchParams(given))
    // Names only: values may be tokens.
    const names = Object.keys(query)
    const name = `${method} ${url}${names.length === 0 ? '' : `?${names.join('&')}`}`
    if (found.size >= MAX_ROUTES || found.has(name)) return
    found.set(name, {
      method,
      url,
      name,
      isSafe: isSafeMethod(method),
      query,
      config: {},
      schema,
      hooks: [],
      handler: undefined,
      bodyLimit: undefined,
    })
  }
  for (const path of ['/', ...paths]) add('GET', path)
  for (const url of DOCUMENTS) {
    const reply = await send({ method: 'GET', url, headers })
    for (const [method, path] of readDocument(reply?.body ?? '')) add(method, path)
  }
  return [...found.values()]
}

/** Methods and paths of an OpenAPI document, with parameters as Fastify writes them. */
function readDocument(text: string): (readonly [method: string, path: string])[] {
  try {
    const { paths } = JSON.parse(text) as { readonly paths?: Readonly<Record<string, object>> }
    return Object.entries(paths ?? {}).flatMap(([path, methods]) =>
      Object.keys(methods)
        .filter((method) => /^(?:get|post|put|patch|delete)$/.test(method))
        .map((method) => [method.toUpperCase(), path.replaceAll(/\{(\w+)\}/g, ':$1')] as const),
    )
  } catch {
    return []
  }
}
