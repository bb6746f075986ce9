/** Importing the package loads nothing that only a registration or an option needs. */
import { spawnSync } from 'node:child_process'
import { plainNode } from '@parapet/testing'
import t from 'tap'

/** Modules that the process has loaded, by a part of their path. */
function loadedAfter(code: string): string[] {
  const look = `
    import { createRequire } from 'node:module'
    ${code}
    const { cache } = createRequire(import.meta.url)
    console.log(JSON.stringify(Object.keys(cache)))`
  const [command, args] = plainNode(['--input-type=module', '-e', look])
  const { stdout, stderr } = spawnSync(command, args, {
    cwd: new URL('..', import.meta.url),
    encoding: 'utf8',
  })
  t.equal(stderr, '')
  return JSON.parse(stdout) as string[]
}

const OPTIONAL = ['@fastify/cors/', '@fastify/csrf/', '@sinclair/typebox/']
const AT_REGISTRATION = ['@fastify/helmet/', 'csp_evaluator/', '/fastify/fastify.js', ...OPTIONAL]

await t.test('an import loads neither Fastify nor any library of the plugin', async (t) => {
  const loaded = loadedAfter(`await import('@parapet/security-headers')`)
  for (const name of AT_REGISTRATION)
    t.notOk(
      loaded.some((path) => path.includes(name)),
      name,
    )
})

await t.test('a registration loads no library that no option asks for', async (t) => {
  const loaded = loadedAfter(`
    const { default: Fastify } = await import('fastify')
    const { securityHeaders } = await import('@parapet/security-headers')
    const app = Fastify()
    await app.register(securityHeaders, { preset: 'web' })
    await app.close()`)
  t.ok(loaded.some((path) => path.includes('@fastify/helmet/')))
  for (const name of OPTIONAL)
    t.notOk(
      loaded.some((path) => path.includes(name)),
      name,
    )
})
