/** Settings of a Fastify instance, and what its error handlers send. */
import { readFastifyInternal } from '@parapet/kit'
import { fastify, type FastifyInstance } from 'fastify'
import type { ErrorReply, ServerFacts } from '../facts/facts.ts'
import { isCreatedHere } from './load-entry.ts'
import type { OwnedRoute } from './read-routes.ts'

/** What an unexpected error says; a response must not repeat it. */
const INTERNAL_MESSAGE = 'posture-internal-7b1d: connection to db-1.internal refused'

const MAX_HANDLERS = 10
const DEADLINE_MS = 2_000

interface Options {
  readonly trustProxy?: unknown
  readonly https?: { readonly minVersion?: unknown } | null
}

/** Reads the settings. */
export async function readServer(
  app: FastifyInstance,
  routes: readonly OwnedRoute[],
): Promise<ServerFacts> {
  const options = (readFastifyInternal(app, 'fastify.options') ?? {}) as Options
  const config = app.initialConfig as Readonly<Record<string, unknown>>
  const numberOf = (name: string) => (typeof config[name] === 'number' ? config[name] : 0)
  const textOf = (name: string) => (typeof config[name] === 'string' ? config[name] : 'error')
  const minVersion = options.https?.minVersion
  const { level } = app.log as { readonly level?: unknown }
  return {
    fastifyVersion: app.version,
    nodeVersion: process.versions.node,
    trustProxy: options.trustProxy,
    bodyLimit: numberOf('bodyLimit'),
    requestTimeout: Math.max(numberOf('requestTimeout'), numberOf('connectionTimeout')),
    handlerTimeout: numberOf('handlerTimeout'),
    onProtoPoisoning: textOf('onProtoPoisoning'),
    onConstructorPoisoning: textOf('onConstructorPoisoning'),
    minTlsVersion: typeof minVersion === 'string' ? minVersion : undefined,
    hasLogger: isCreatedHere(app) ? undefined : typeof level === 'string' && level !== 'silent',
    logLevel: typeof level === 'string' ? level : 'silent',
    contentTypes: listContentTypes(app, routes),
    errorReplies: await tryErrorHandlers(app, routes),
  }
}

function listContentTypes(app: FastifyInstance, routes: readonly OwnedRoute[]): string[] {
  const owners = new Set([app, ...routes.map(({ owner }) => owner)])
  const types = [
    'multipart/form-data',
    'application/x-www-form-urlencoded',
    'text/plain',
    'application/xml',
  ]
  return types.filter((type) => [...owners].some((owner) => owner.hasContentTypeParser(type)))
}

/** Runs each error handler on an unexpected error, in an app of its own. */
async function tryErrorHandlers(
  app: FastifyInstance,
  routes: readonly OwnedRoute[],
): Promise<ErrorReply[]> {
  // A handler that no route uses answers nothing, as that of the root around an encapsulated plugin.
  const handlers = new Map<unknown, string>()
  for (const { errorHandler, route } of routes) {
    const place = errorHandler === app.errorHandler ? 'the app' : route.name
    if (errorHandler !== undefined && !handlers.has(errorHandler)) handlers.set(errorHandler, place)
  }
  if (handlers.size === 0) handlers.set(app.errorHandler, 'the app')
  const replies: ErrorReply[] = []
  for (const [handler, place] of [...handlers].slice(0, MAX_HANDLERS)) {
    replies.push({ place, reply: await tryErrorHandler(handler) })
  }
  return replies
}

async function tryErrorHandler(handler: unknown): Promise<ErrorReply['reply']> {
  const shadow = fastify({ logger: false })
  try {
    const isDefault = typeof handler === 'function' && handler.name === 'defaultErrorHandler'
    if (typeof handler === 'function' && !isDefault) {
      shadow.setErrorHandler(handler as Parameters<FastifyInstance['setErrorHandler']>[0])
    }
    shadow.get('/posture-error', async () => {
      throw new Error(INTERNAL_MESSAGE)
    })
    const signal = AbortSignal.timeout(DEADLINE_MS)
    const { statusCode, headers, body } = await shadow.inject({ url: '/posture-error', signal })
    // A handler that needs decorators of its own app fails here, and the default one answers for it.
    const isOther = !isDefault && /cannot read prop|is not a function|undefined/i.test(body)
    if (isOther) return undefined
    const entries = Object.entries(headers).map(([name, value]) => [name, String(value)])
    return {
      status: statusCode,
      headers: Object.fromEntries(entries) as Record<string, string>,
      cookies: [],
      body,
    }
  } catch {
    return undefined
  } finally {
    await shadow.close()
  }
}
