/** Builds the plugin of one app. It is loaded at registration, with the parts that options ask for. */
import { compileRouteRule, declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { createCatalog } from '../catalog.ts'
import { events } from '../events.ts'
import type { RouteEntry } from '../headers/route-entry.ts'
import { rules } from '../lint/rules.ts'
import { resolveOptions, type SecurityHeadersSettings } from '../options.ts'
import type { Catalog } from '../route-catalog.ts'
import { addMissingCsrf } from './csrf/csrf-missing.ts'
import { watchExpiry } from './expiry.ts'
import { addGuard } from './guard.ts'
import { refuseSecondPlugin, watchNeighbours } from './neighbours.ts'
import { coverRoot } from './server/outside.ts'
import type { Parts } from './request/parts.ts'
import { addRawReplies } from './server/raw-replies.ts'
import { createHelmetRecorder, recordCors } from './recorders.ts'
import { decorateReply } from './replies/reply.ts'
import type { ReplyHeaders } from './replies/services.ts'
import { showsLogin } from './request/login.ts'
import { createRefusals } from './request/refusals.ts'
import { createRouteEntries } from './request/route-entries.ts'

/**
 * Adds the decorators, hooks and routes.
 *
 * @param options the options as the app wrote them.
 * @throws PARAPET_SECURITY_HEADERS_INVALID_OPTION
 * @throws PARAPET_SECURITY_HEADERS_UNSAFE_POLICY
 */
export async function install(
  app: FastifyInstance,
  options: unknown,
  plugin: string,
): Promise<void> {
  refuseSecondPlugin(app)
  const settings = resolveOptions(options)
  declarePhase(app, plugin, 'headers')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const build = await loadBuild(settings)
  const catalog = await createCatalog(settings, app.prefix, createHelmetRecorder(), build)
  const { base } = catalog
  const compiled = compileRouteRule<RouteEntry>(app, {
    plugin,
    key: 'securityHeaders',
    compile: catalog.add,
  })
  const parts: Parts = {
    base,
    rules: createRouteEntries(compiled, catalog),
    tenants: await loadTenants(settings, catalog, securityEvents),
    cors: await loadCors(settings),
    securityEvents,
    principalOf,
    ...createChecks(app, settings, base),
    refusals: createRefusals(securityEvents, settings.clock),
  }
  decorateApp(app, catalog)
  app.addHook('onReady', () => catalog.seal((method, url) => app.hasRoute({ method, url })))
  const { relax = {}, cookies } = settings
  const replies = decorateReply(app, parts, { relax, cookies })
  addGuard(app, parts, settings, replies)
  if (settings.principal !== undefined) addPrincipal(app, principalOf)
  await addCsrf(app, settings, parts, replies)
  addRawReplies(app, base.block)
  coverRoot(app, base.block)
  if (build !== null) (await import('./replies/shells.ts')).addShells(app, build, parts)
  await addRoutes(app, settings, parts)
  watchExpiry(app, settings, catalog.waivers, securityEvents)
}

function createChecks(
  app: FastifyInstance,
  { cors, principal, https }: SecurityHeadersSettings,
  { block: { cacheControl } }: RouteEntry,
): Pick<Parts, 'hasLogin' | 'isPlainHttp' | 'middleware'> {
  const neighbours = watchNeighbours(app, { cors, principal, cacheControl })
  return {
    hasLogin: (request) => !neighbours.hasPrincipal && showsLogin(request),
    isPlainHttp: createHttpCheck(https !== undefined),
    middleware: neighbours.middleware,
  }
}

function decorateApp(app: FastifyInstance, { base, explain }: Catalog): void {
  const headers = Object.fromEntries(base.block.explained.map(({ name, value }) => [name, value]))
  app.decorate('securityHeaders', {
    headers: Object.freeze(headers),
    rules,
    explain: (method, url) => explain(`${method.toUpperCase()} ${url}`),
  })
}

/**
 * Runs an asynchronous mapping when the login has run, and before the body is read. If it fails, the
 * request counts as authenticated: the first read reports it.
 */
function addPrincipal(app: FastifyInstance, principalOf: ReturnType<typeof usePrincipal>): void {
  app.addHook('preParsing', function securityHeadersPrincipal(request, _reply, payload, done) {
    const proceed = (): void => done(null, payload)
    let pending: Promise<void> | undefined
    try {
      pending = principalOf.load(request)
    } catch {
      return proceed()
    }
    if (pending === undefined) proceed()
    else pending.then(proceed, proceed)
  })
}

async function loadBuild({ build }: SecurityHeadersSettings) {
  if (build === undefined) return null
  const { openBuild } = await import('../build/open-build.ts')
  return openBuild(build)
}

async function loadCors({ cors }: SecurityHeadersSettings): Promise<Parts['cors']> {
  if (cors === undefined) return null
  const { compileCors } = await import('../cors/cors.ts')
  return compileCors(cors, recordCors)
}

async function loadTenants(
  { tenants, clock }: SecurityHeadersSettings,
  { tenantBlock }: Catalog,
  securityEvents: Parts['securityEvents'],
): Promise<Parts['tenants']> {
  if (tenants === undefined) return null
  const { createTenantReport, createTenants } = await import('./request/tenants.ts')
  const report = createTenantReport(securityEvents)
  return createTenants(tenants, { clock, compile: tenantBlock, report })
}

async function addCsrf(
  app: FastifyInstance,
  { csrf }: SecurityHeadersSettings,
  parts: Parts,
  replies: ReplyHeaders,
): Promise<void> {
  if (csrf === undefined) addMissingCsrf(app)
  else (await import('./csrf/csrf.ts')).addCsrf(app, csrf, parts, replies)
}

/**
 * HSTS must not be sent over http. Without `trustProxy` the app cannot know what the client used, unless
 * it has the option `https`: the proxy that ends TLS may add no header. @see RFC 6797, section 7.2
 */
function createHttpCheck(isKnown: boolean): Parts['isPlainHttp'] {
  return (request) => (isKnown || 'ips' in request) && request.protocol === 'http'
}

async function addRoutes(
  app: FastifyInstance,
  { reports, securityTxt, clock }: SecurityHeadersSettings,
  { securityEvents }: Parts,
): Promise<void> {
  if (reports === undefined && securityTxt === undefined) return
  const routes = await import('./routes.ts')
  if (reports !== undefined) await routes.addReportsRoute(app, reports, clock, securityEvents)
  if (securityTxt !== undefined) {
    routes.addSecurityTxtRoute(app, securityTxt)
  }
}
