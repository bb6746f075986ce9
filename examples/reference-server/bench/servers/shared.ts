/** What the servers of the benchmark share: keys, the user, and one route. */
import { createPrivateKey, createPublicKey, generateKeyPairSync } from 'node:crypto'
import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { definePolicy } from '@parapet/rbac'
import type { FastifyInstance } from 'fastify'
import { Pool } from 'pg'

const [, databaseUrl = ''] = process.argv.slice(2)

export const issuer = 'https://api.example.com'
export const origins = ['https://app.example.com']
export const directory = mkdtempSync(join(tmpdir(), 'parapet-bench-'))
export const pool = new Pool({ connectionString: databaseUrl, max: 10 })

const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 })
export const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
export const publicPem = createPublicKey(createPrivateKey(pem))
  .export({ type: 'spki', format: 'pem' })
  .toString()

/** A route of the server, and the token that its clients send. */
export interface Setup {
  readonly app: FastifyInstance
  readonly token?: string
}

export const user = { id: 'user-1', roles: ['reader'] }
export const policy = definePolicy({
  permissions: ['orders:read'],
  roles: { reader: { grants: ['orders:read'] } },
})
/** More than the load sends: the limits are counted and never reached. */
export const LIMIT = 1_000_000
export const WINDOW_MS = 60_000

export function addRoute(app: FastifyInstance, config: object = {}): void {
  app.get('/', { config }, async () => ({ id: 'order-1', total: 1299 }))
}
