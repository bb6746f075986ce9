/** Routes outside the context of the plugin: the 404 responses of the root, and a warning. */
import type { FastifyInstance } from 'fastify'
import type { Block } from '../../headers/block.ts'
import { setRaw } from './raw-replies.ts'

/** Contexts that already set the headers of the root's 404 responses, by root. */
const covered = new WeakSet<object>()

/**
 * Covers the 404 responses of the root if the plugin is registered inside another plugin: no hook of
 * this context runs for them. Other contexts with the plugin set their own headers.
 */
export function coverRoot(app: FastifyInstance, block: Block): void {
  const root = rootOf(app)
  if (root === app) return
  if (app.prefix === '') {
    app.log.warn(
      '@parapet/security-headers is registered inside another plugin, so routes outside that plugin have no headers. Wrap the other plugin in fastify-plugin, as in "export default fp(app)", or register @parapet/security-headers on the root',
    )
  }
  if (covered.has(root)) return
  covered.add(root)
  root.addHook('onRequest', function securityHeadersNotFound(request, reply, done) {
    // A handler and the hook of a context with the plugin replace these headers.
    if (request.is404) setRaw(reply.raw, block)
    done()
  })
}

/** Fastify makes each context an object whose prototype is its parent. */
function rootOf(app: FastifyInstance): FastifyInstance {
  let root = app
  for (;;) {
    const parent = Object.getPrototypeOf(root) as FastifyInstance | null
    if (parent === null || parent === (Object.prototype as unknown)) return root
    root = parent
  }
}
