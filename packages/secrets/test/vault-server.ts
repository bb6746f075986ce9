/**
 * A server with the HTTP contract of Vault, as far as this package uses it, written from the public API documentation
 * (developer.hashicorp.com/vault/api-docs): KV version 2, database credentials, leases, tokens, AppRole, Kubernetes,
 * health, capabilities. It is no Vault; `node-vault` is used against it as an independent client.
 */
import { randomBytes, randomUUID } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Clock } from '@parapet/kit'
import type { Test } from 'tap'

type Data = Readonly<Record<string, unknown>>

interface Token {
  policies: string[]
  /** `Infinity`: never. */
  expiresAt: number
  maxExpiresAt: number
  readonly renewable: boolean
  readonly ttlSeconds: number
}

interface Version {
  readonly data: Data
  readonly created: string
  deleted: string
  destroyed: boolean
}

interface KvSecret {
  readonly versions: Version[]
  custom: Record<string, string> | null
  casRequired: boolean
}

interface Lease {
  expiresAt: number
  readonly maxExpiresAt: number
  readonly username: string
}

/** The server, and what a test can do to it. */
export interface VaultServer {
  readonly url: string
  /** Method and path of each request. */
  readonly requests: string[]
  readonly headers: IncomingMessage['headers'][]
  readonly rootToken: string
  readonly appRole: { readonly roleId: string; readonly secretId: string }
  readonly leases: ReadonlyMap<string, Lease>
  /** The living accounts of the database. */
  readonly accounts: () => string[]
  /** The next requests fail with this status; 0: the connection is closed; -1: there is no answer. */
  readonly fail: (status: number, times?: number) => void
  readonly revokeTokens: () => void
  readonly createToken: (token: Partial<Token>) => string
  readonly capabilities: Map<string, string[]>
  sealed: boolean
  readonly kv: Map<string, KvSecret>
  tokenTtlSeconds: number
  tokenMaxTtlSeconds: number
}

/** Starts the server; it is closed after the test. */
export async function startVault(t: Test, clock: Pick<Clock, 'now'>): Promise<VaultServer> {
  const vault = new ContractVault(clock)
  const server = createServer((request, response) => void vault.handle(request, response))
  t.after(
    () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  )
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  vault.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return vault
}

class Refused extends Error {
  readonly status: number
  constructor(status: number, message = '') {
    super(message)
    this.status = status
  }
}

class ContractVault implements VaultServer {
  url = ''
  readonly requests: string[] = []
  readonly headers: IncomingMessage['headers'][] = []
  readonly rootToken = `hvs.${randomBytes(18).toString('base64url')}`
  readonly appRole = { roleId: randomUUID(), secretId: randomUUID() }
  readonly leases = new Map<string, Lease>()
  readonly capabilities = new Map<string, string[]>()
  readonly kv = new Map<string, KvSecret>()
  sealed = false
  tokenTtlSeconds = 3600
  tokenMaxTtlSeconds = 86_400
  readonly #clock: Pick<Clock, 'now'>
  readonly #tokens = new Map<string, Token>()
  readonly #failures: number[] = []

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock
    const never = { expiresAt: Infinity, maxExpiresAt: Infinity, ttlSeconds: 0 }
    this.#tokens.set(this.rootToken, { policies: ['root'], renewable: false, ...never })
  }

  accounts(): string[] {
    const now = this.#clock.now()
    return [...this.leases.values()]
      .filter(({ expiresAt }) => expiresAt > now)
      .map(({ username }) => username)
  }

  fail(status: number, times = 1): void {
    for (let count = 0; count < times; count++) this.#failures.push(status)
  }

  revokeTokens(): void {
    for (const [token, { policies }] of this.#tokens) {
      if (!policies.includes('root')) this.#tokens.delete(token)
    }
  }

  createToken(token: Partial<Token>): string {
    const id = `hvs.${randomBytes(18).toString('base64url')}`
    const ttl = { expiresAt: Infinity, maxExpiresAt: Infinity, renewable: false, ttlSeconds: 0 }
    this.#tokens.set(id, { policies: ['default'], ...ttl, ...token })
    return id
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = new URL(request.url ?? '', 'http://vault').pathname.replace(/^\/v1\//, '')
    const isList = new URL(request.url ?? '', 'http://vault').searchParams.has('list')
    const method = isList ? 'LIST' : (request.method ?? '')
    this.requests.push(`${method} ${path}`)
    this.headers.push(request.headers)
    const chunks: Buffer[] = []
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk)
    const failure = this.#failures.shift()
    if (failure === -1) return
    if (failure === 0) {
      request.socket.destroy()
      return
    }
    try {
      if (failure !== undefined) throw new Refused(failure, 'injected')
      const text = Buffer.concat(chunks).toString()
      const body = text === '' ? {} : (JSON.parse(text) as Data)
      const found = this.#route(method, decodeURIComponent(path), body, request.headers)
      const [status, answer] = found === null ? [204, ''] : [200, found]
      send(response, status, answer)
    } catch (error) {
      if (error instanceof Deleted) send(response, 404, envelope({ data: error.data }))
      else if (error instanceof Refused) {
        send(response, error.status, { errors: error.message === '' ? [] : [error.message] })
      } else send(response, 500, { errors: [String(error)] })
    }
  }

  #route(
    method: string,
    path: string,
    body: Data,
    headers: IncomingMessage['headers'],
  ): object | null {
    if (path === 'sys/health') return this.#health()
    if (this.sealed) throw new Refused(503, 'Vault is sealed')
    if (path === 'auth/approle/login') return this.#loginByAppRole(body)
    if (path === 'auth/kubernetes/login') {
      if (body['role'] !== 'app' || body['jwt'] !== 'pod.jwt.1')
        throw new Refused(403, 'permission denied')
      return this.#issue(['default', 'app'])
    }
    const given = String(headers['x-vault-token'] ?? '')
    const token = this.#tokens.get(given)
    if (token === undefined || token.expiresAt <= this.#clock.now()) {
      throw new Refused(403, 'permission denied')
    }
    if (path === 'auth/token/lookup-self') return envelope({ data: this.#describe(given, token) })
    if (path === 'auth/token/renew-self') return this.#renewToken(given, token)
    if (path === 'sys/capabilities-self') return this.#listCapabilities(token, body)
    if (path.startsWith('database/creds/')) return this.#lease(path)
    if (path === 'sys/leases/renew') return this.#renewLease(body)
    if (path === 'sys/leases/revoke') {
      this.leases.delete(String(body['lease_id']))
      return null
    }
    const [, kind, place] = /^secret\/(data|metadata)\/?(.*)$/.exec(path) ?? []
    if (kind === 'data') return this.#kvData(method, place!, body)
    if (kind === 'metadata') return this.#kvMetadata(method, place!, body)
    throw new Refused(404)
  }

  #health(): object {
    const state = { initialized: true, sealed: this.sealed, standby: false, version: '1.20.0' }
    if (this.sealed) throw new Refused(503)
    return state
  }

  #loginByAppRole(body: Data): object {
    const { roleId, secretId } = this.appRole
    if (body['role_id'] !== roleId || body['secret_id'] !== secretId) {
      throw new Refused(400, 'invalid role or secret ID')
    }
    return this.#issue(['default', 'app'])
  }

  #issue(policies: string[]): object {
    const now = this.#clock.now()
    const id = this.createToken({
      policies,
      renewable: true,
      ttlSeconds: this.tokenTtlSeconds,
      expiresAt: now + this.tokenTtlSeconds * 1000,
      maxExpiresAt: now + this.tokenMaxTtlSeconds * 1000,
    })
    return envelope({ auth: this.#authOf(id, this.#tokens.get(id)!) })
  }

  #authOf(id: string, token: Token): object {
    return {
      client_token: id,
      accessor: randomUUID(),
      policies: token.policies,
      token_policies: token.policies,
      metadata: { role_name: 'app' },
      lease_duration: Math.max(0, Math.floor((token.expiresAt - this.#clock.now()) / 1000)),
      renewable: token.renewable,
      token_type: 'service',
    }
  }

  #describe(id: string, { policies, expiresAt, renewable }: Token): object {
    const left = Math.floor((expiresAt - this.#clock.now()) / 1000)
    const ttl = Number.isFinite(expiresAt) ? left : 0
    return { id, policies, ttl, renewable, path: 'auth/approle/login', type: 'service' }
  }

  #renewToken(id: string, token: Token): object {
    if (!token.renewable) throw new Refused(400, 'lease is not renewable')
    const wanted = this.#clock.now() + token.ttlSeconds * 1000
    token.expiresAt = Math.min(wanted, token.maxExpiresAt)
    return envelope({ auth: this.#authOf(id, token) })
  }

  #listCapabilities({ policies }: Token, body: Data): object {
    const paths = body['paths'] as readonly string[]
    const capabilities = Object.fromEntries(
      paths.map((path) => [
        path,
        policies.includes('root') ? ['root'] : (this.capabilities.get(path) ?? ['deny']),
      ]),
    )
    return { ...envelope({ data: capabilities }), ...capabilities }
  }

  #lease(path: string): object {
    const [, role = ''] = /^database\/creds\/(.+)$/.exec(path) ?? []
    if (role !== 'app') throw new Refused(400, `unknown role: ${role}`)
    const id = `${path}/${randomBytes(12).toString('hex')}`
    const now = this.#clock.now()
    const username = `v-app-${randomBytes(6).toString('hex')}`
    this.leases.set(id, { username, expiresAt: now + 3_600_000, maxExpiresAt: now + 10_800_000 })
    const data = { username, password: randomBytes(15).toString('base64url') }
    return { ...envelope({ data }), lease_id: id, renewable: true, lease_duration: 3600 }
  }

  #renewLease(body: Data): object {
    const id = String(body['lease_id'])
    const lease = this.leases.get(id)
    const now = this.#clock.now()
    if (lease === undefined || lease.expiresAt <= now) throw new Refused(400, 'lease not found')
    lease.expiresAt = Math.min(now + Number(body['increment']) * 1000, lease.maxExpiresAt)
    const seconds = Math.floor((lease.expiresAt - now) / 1000)
    return { ...envelope({}), lease_id: id, renewable: true, lease_duration: seconds }
  }

  #kvData(method: string, place: string, body: Data): object | null {
    const secret = this.kv.get(place)
    if (method === 'GET') return this.#readVersion(secret)
    if (method === 'DELETE') {
      const last = secret?.versions.at(-1)
      if (last !== undefined) last.deleted = this.#time()
      return null
    }
    const current = secret?.versions.length ?? 0
    const cas = (body['options'] as { cas?: number } | undefined)?.cas
    if (secret?.casRequired === true && cas === undefined) {
      throw new Refused(400, 'check-and-set parameter required for this call')
    }
    if (cas !== undefined && cas !== current) {
      throw new Refused(400, 'check-and-set parameter did not match the current version')
    }
    const stored = secret ?? { versions: [], custom: null, casRequired: false }
    const version = {
      data: body['data'] as Data,
      created: this.#time(),
      deleted: '',
      destroyed: false,
    }
    stored.versions.push(version)
    this.kv.set(place, stored)
    return envelope({ data: describeVersion(version, stored.versions.length, stored) })
  }

  #readVersion(secret: KvSecret | undefined): object {
    const version = secret?.versions.at(-1)
    if (secret === undefined || version === undefined) throw new Refused(404)
    const metadata = describeVersion(version, secret.versions.length, secret)
    if (version.deleted !== '' || version.destroyed) throw new Deleted({ data: null, metadata })
    return envelope({ data: { data: version.data, metadata } })
  }

  #kvMetadata(method: string, place: string, body: Data): object | null {
    if (method === 'LIST') {
      const prefix = place === '' || place.endsWith('/') ? place : `${place}/`
      const keys = [...this.kv.keys()].filter((key) => key.startsWith(prefix))
      if (keys.length === 0) throw new Refused(404)
      return envelope({ data: { keys: keys.map((key) => key.slice(prefix.length)) } })
    }
    const secret = this.kv.get(place)
    if (method !== 'GET') {
      const stored = secret ?? { versions: [], custom: null, casRequired: false }
      this.kv.set(place, stored)
      if (body['custom_metadata'] !== undefined) {
        stored.custom = body['custom_metadata'] as Record<string, string>
      }
      if (body['cas_required'] !== undefined) stored.casRequired = body['cas_required'] === true
      return null
    }
    if (secret === undefined) throw new Refused(404)
    const versions = secret.versions.map((version, index) => [
      String(index + 1),
      {
        created_time: version.created,
        deletion_time: version.deleted,
        destroyed: version.destroyed,
      },
    ])
    return envelope({
      data: {
        cas_required: secret.casRequired,
        created_time: secret.versions[0]?.created ?? this.#time(),
        updated_time: secret.versions.at(-1)?.created ?? this.#time(),
        current_version: secret.versions.length,
        custom_metadata: secret.custom,
        max_versions: 0,
        oldest_version: 0,
        versions: Object.fromEntries(versions) as object,
      },
    })
  }

  #time(): string {
    return new Date(this.#clock.now()).toISOString()
  }
}

/** A deleted version answers 404, with its metadata. */
class Deleted extends Error {
  readonly data: object
  constructor(data: object) {
    super('deleted')
    this.data = data
  }
}

function describeVersion(version: Version, number: number, { custom }: KvSecret): object {
  return {
    version: number,
    created_time: version.created,
    deletion_time: version.deleted,
    destroyed: version.destroyed,
    custom_metadata: custom,
  }
}

function envelope(members: object): object {
  const none = { data: null, wrap_info: null, warnings: null, auth: null }
  return {
    request_id: randomUUID(),
    lease_id: '',
    renewable: false,
    lease_duration: 0,
    ...none,
    ...members,
  }
}

function send(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' })
  response.end(body === '' ? '' : JSON.stringify(body))
}
