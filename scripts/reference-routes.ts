/** Lists the routes that a plugin registers, by running the `test/reference-app.ts` of its package. */
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

/** One route of a plugin. */
export interface Route {
  /** `GET`; several methods of one declaration are `GET, POST`. */
  readonly method: string
  /** As it was declared: `/users/:id`. */
  readonly path: string
  /** `schema.summary`; `''` where there is none. */
  readonly summary: string
  /** The statuses of `schema.response`, in ascending order. */
  readonly statuses: readonly string[]
}

/** The part of a Fastify instance that is used here. The root of the workspace has no Fastify. */
export interface ReferenceApp {
  addHook(name: 'onRoute', hook: (route: DeclaredRoute) => void): unknown
  ready(): PromiseLike<unknown>
  close(): PromiseLike<unknown>
}

interface DeclaredRoute {
  readonly method: string | readonly string[]
  readonly url: string
  readonly schema?: { readonly summary?: string; readonly response?: object }
}

/** What `test/reference-app.ts` exports: registers the plugin with every route that it has. */
export type RegisterReference = (app: ReferenceApp) => Promise<void>

/**
 * Lists the routes of a package, in the order in which they are registered.
 *
 * @param home the folder of the package. @returns none where it has no `test/reference-app.ts`.
 */
export async function listReferenceRoutes(home: string): Promise<Route[]> {
  const file = join(home, 'test/reference-app.ts')
  if (!existsSync(file)) return []
  const { default: register } = (await import(pathToFileURL(file).href)) as {
    readonly default: RegisterReference
  }
  return listRoutes(createApp(home), register)
}

/** Creates an app with the Fastify that the package in a folder depends on. */
export function createApp(home: string): ReferenceApp {
  const load = createRequire(join(home, 'package.json'))
  return (load('fastify') as () => ReferenceApp)()
}

/** Runs `register` on an app, lists the routes that come of it without HEAD, and closes the app. */
export async function listRoutes(app: ReferenceApp, register: RegisterReference): Promise<Route[]> {
  const routes: Route[] = []
  app.addHook('onRoute', ({ method, url, schema }) => {
    const methods = [method].flat().filter((name) => name !== 'HEAD')
    if (methods.length === 0) return
    routes.push({
      method: methods.join(', '),
      path: url,
      summary: schema?.summary ?? '',
      statuses: Object.keys(schema?.response ?? {}).toSorted(),
    })
  })
  try {
    await register(app)
    await app.ready()
  } finally {
    await app.close()
  }
  return routes
}
