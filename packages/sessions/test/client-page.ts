/** The bundled browser client, and a page that uses it, for the tests in Chromium. */
import type { FastifyInstance } from 'fastify'
import type { Page } from 'playwright-core'
import { build as bundle } from 'rolldown'

export const HOST = 'app.site.localhost'

const PAGE = `<!doctype html><link rel="icon" href="data:,"><script type="module">
  import { createSessionClient } from '/client.js'
  window.changes = []
  window.client = createSessionClient()
  client.onChange((change) => changes.push(change))
</script>`

/** The client as an application's bundler would write it. */
async function bundleClient(): Promise<string> {
  const { output } = await bundle({
    input: new URL('../src/client/session-client.ts', import.meta.url).pathname,
    write: false,
    output: { format: 'esm', minify: true },
  })
  return output[0].code
}

/** The text of the client. */
export const clientCode = await bundleClient()

/** Serves the page at `/`. */
export function addPage(app: FastifyInstance): void {
  const open = { config: { sessions: 'optional' } } as const
  app.get('/', open, async (_request, reply) => reply.type('text/html').send(PAGE))
  app.get('/client.js', open, async (_request, reply) =>
    reply.type('text/javascript').send(clientCode),
  )
}

/** Runs code in the page; `client` is the client. */
export const run = (page: Page, script: string): Promise<unknown> =>
  page.evaluate(`(async () => ${script})()`)
