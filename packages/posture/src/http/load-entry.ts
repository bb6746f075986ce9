/** Finds the app of a file: an exported app, a plugin in the style of fastify-cli, a factory, or a script that listens. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { EventEmitter, once } from 'node:events'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { withDeadline } from '@parapet/kit'
import { fastify, type FastifyInstance } from 'fastify'
import { PARAPET_POSTURE_NO_APP, PARAPET_POSTURE_NOT_READY } from '../errors.ts'

const CHANNEL = 'fastify.initialization'
const FACTORY_NAMES = [
  'build',
  'buildApp',
  'createApp',
  'buildServer',
  'createServer',
  'makeApp',
  'getApp',
]
const FACTORY_PARAMETER =
  /^(?:_?opts?|options|config|configuration|settings|env|deps|dependencies|params)$/
/** A script that has created no app by then will create none. */
const CREATE_MS = 5_000
/** A script may open its database first. */
const LISTEN_MS = 60_000
/** For everything until the app is ready, also a factory or a plugin that never ends. */
export const READY_MS = 90_000

type Module = Readonly<Record<string, unknown>>
type Create = typeof fastify
type Listen = FastifyInstance['listen']

/** Loads a module by its address; `import()` of the command. */
export type LoadModule = (url: string) => Promise<unknown>

/**
 * Loads a file and returns its app, which is ready. `listen` gets a free port of the loopback address.
 *
 * @throws PARAPET_POSTURE_NO_APP the file has no app.
 * @throws PARAPET_POSTURE_NOT_READY it is not ready within the time.
 */
export async function loadEntry(
  path: string,
  load: LoadModule,
  readyMs = READY_MS,
): Promise<FastifyInstance> {
  const watch = watchInstances()
  // The timers of deadlines do not keep a process alive, and an app without a port may not either.
  const alive = setInterval(() => {}, 60_000)
  try {
    // In a box, because an app is a thenable.
    const { app } = await withDeadline(
      open(path, load, watch),
      readyMs,
      () => new PARAPET_POSTURE_NOT_READY(path, readyMs / 1000),
    )
    return app
  } finally {
    clearInterval(alive)
    watch.stop()
  }
}

async function open(
  path: string,
  load: LoadModule,
  watch: ReturnType<typeof watchInstances>,
): Promise<{ readonly app: FastifyInstance }> {
  const loaded = (await load(pathToFileURL(path).href)) as Module
  const app = (await findApp(path, unwrapModule(loaded))) ?? (await watch.listening())
  if (app === undefined) {
    throw new PARAPET_POSTURE_NO_APP(
      path,
      'it exports no plugin, app or factory, and no app listens',
    )
  }
  await app.ready()
  return { app }
}

/** Apps whose logger is the choice of the runner, as of `fastify start --log-level`. */
const createdHere = new WeakSet<object>()

/** Whether an app was created here, around a plugin, so that its logger says nothing about production. */
export function isCreatedHere(app: FastifyInstance): boolean {
  return createdHere.has(app)
}

const createLate = (): Error => new Error('no app listens')

/** Apps that are created while a file loads, and the one that listens. */
function watchInstances() {
  const events = new EventEmitter()
  const created: FastifyInstance[] = []
  // Not as a promise of the app: an app is a thenable that becomes ready when somebody waits for it.
  const listened = once(events, 'listen') as Promise<[FastifyInstance]>
  const firstCreated = once(events, 'create')
  const onCreated = (message: unknown): void => {
    const { fastify: app } = message as { readonly fastify: FastifyInstance }
    created.push(app)
    app.listen = listenPrivately(app, () => events.emit('listen', app))
    events.emit('create')
  }
  subscribe(CHANNEL, onCreated)
  return {
    stop: () => void unsubscribe(CHANNEL, onCreated),
    async listening(): Promise<FastifyInstance | undefined> {
      try {
        if (created.length === 0) await withDeadline(firstCreated, CREATE_MS, createLate)
        const [app] = await withDeadline(listened, LISTEN_MS, createLate)
        return app
      } catch {
        return created.at(-1)
      }
    },
  }
}

/** Listens on a free port of the loopback address: scripts read their address, and nobody else is served. */
function listenPrivately(app: FastifyInstance, onListen: () => void): Listen {
  const original = app.listen.bind(app) as (...given: readonly unknown[]) => unknown
  const listen = (...given: readonly unknown[]): unknown => {
    onListen()
    const callback = given.findLast((each) => typeof each === 'function')
    const at = { port: 0, host: '127.0.0.1' }
    return callback === undefined ? original(at) : original(at, callback)
  }
  return listen as Listen
}

/** CommonJS behind `import()`, and what compilers make of ES modules. */
function unwrapModule(loaded: Module): Module {
  const { default: main } = loaded
  const isModule = typeof main === 'object' && main !== null && !isApp(main)
  return isModule ? { ...loaded, ...(main as Module) } : loaded
}

async function findApp(path: string, module: Module): Promise<FastifyInstance | undefined> {
  const { default: main } = module
  const exported = [main, ...Object.values(module)].find(isApp)
  if (exported !== undefined) return exported
  if (typeof main === 'function' && !isFactory(main)) return registerPlugin(path, main, module)
  const factory = [main, ...FACTORY_NAMES.map((name) => module[name])].find(
    (each) => typeof each === 'function',
  ) as ((options: object) => unknown) | undefined
  const built: unknown = await factory?.({})
  return isApp(built) ? built : undefined
}

function isApp(value: unknown): value is FastifyInstance {
  if (typeof value !== 'object' || value === null) return false
  const { inject, ready, printRoutes } = value as Module
  return [inject, ready, printRoutes].every((each) => typeof each === 'function')
}

/** A function without parameters, or whose first one is a set of options. */
function isFactory(main: unknown): boolean {
  const fn = main as ((...given: unknown[]) => unknown) & { readonly [key: symbol]: unknown }
  // What fastify-plugin has wrapped.
  if (fn[Symbol.for('plugin-meta')] !== undefined) return false
  const text = Function.prototype.toString.call(fn)
  const first = /^(?:async\s+)?(?:function\s*[\w$]*\s*)?\(?\s*([\w$]+|\{)/.exec(text)?.[1] ?? ''
  const takesNothing =
    fn.length === 0 &&
    !/^(?:async\s+)?(?:function\s*[\w$]*\s*)?\(?\s*(?:app|fastify|server|instance)\b/.test(text)
  return takesNothing || first === '{' || FACTORY_PARAMETER.test(first)
}

/** As `fastify start` does: the options that the file exports, and the Fastify that it depends on. */
async function registerPlugin(
  path: string,
  plugin: unknown,
  module: Module,
): Promise<FastifyInstance> {
  const { options } = module
  const own = (plugin as { readonly options?: unknown }).options
  const given = [options, own].find((each) => typeof each === 'object' && each !== null)
  const app = findFastify(path)({ ...given })
  createdHere.add(app)
  await app.register(plugin as Parameters<FastifyInstance['register']>[0], {})
  return app
}

function findFastify(path: string): Create {
  try {
    const load = createRequire(path)
    const found = load('fastify') as Create & { readonly fastify?: Create }
    return found.fastify ?? found
  } catch {
    return fastify
  }
}
