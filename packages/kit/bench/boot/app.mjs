// Run in a process of its own, by imports.ts on the built files: registers the plugins of `urls` on one
// app, and prints the milliseconds and the memory that a ready app took. Plain JavaScript, because a
// loader of TypeScript would be measured too.
import { readFileSync } from 'node:fs'

const { urls, secrets, directory } = JSON.parse(readFileSync(0, 'utf8'))
const start = performance.now()
const { default: Fastify } = await import('fastify')
const app = Fastify()
const load = async (name) => (await import(urls[name])).default

async function registerAll() {
  await app.register(await load('audit-log'), { origin: 'example.org/audit', directory })
  await app.register(await load('security-headers'))
  await app.register(await load('sessions'), {
    issuer: 'https://api.example.com',
    audience: 'example-api',
    keys: { current: secrets.signingKey },
    secrets: [secrets.sessions],
  })
  const { default: rbac, definePolicy } = await import(urls['rbac'])
  const policy = definePolicy({
    permissions: ['doc:read'],
    roles: { reader: { grants: ['doc:read'] } },
  })
  const own = { authenticated: 'own second factors' }
  const routes = { 'GET /mfa': own, 'POST /mfa/**': own, 'DELETE /mfa/**': own }
  await app.register(rbac, { policy, routes })
  await app.register(await load('mfa'), { issuer: 'Acme', keys: secrets.mfa })
  await app.register(await load('field-encryption'), { keyset: secrets.keyset })
}

if (urls !== undefined) await registerAll()
await app.ready()
const milliseconds = performance.now() - start
console.log(JSON.stringify({ milliseconds, rssBytes: process.memoryUsage.rss() }))
await app.close()
