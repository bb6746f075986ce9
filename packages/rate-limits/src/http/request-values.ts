/** What a request is counted by. Each value is read once, when a key needs it. */
import type { Principal, PrincipalReader } from '@parapet/kit'
import type { FastifyRequest } from 'fastify'
import { attempt } from '../tiers/callbacks.ts'
import { accountsOf } from '../keys/account.ts'
import type { KeyValues } from '../keys/identity.ts'

/** How values are read from a request. */
export interface ValueSources {
  readonly principalOf: PrincipalReader
  readonly account: (request: FastifyRequest) => string | readonly string[] | undefined
  readonly apiKeyHeader: string
}

export class RequestValues implements KeyValues {
  readonly #request: FastifyRequest
  readonly #sources: ValueSources
  #ip: string | undefined
  #accounts: readonly string[] | undefined

  /** @param accounts instead of those that the request names. */
  constructor(request: FastifyRequest, sources: ValueSources, accounts?: readonly string[]) {
    this.#request = request
    this.#sources = sources
    this.#accounts = accounts
  }

  get ip(): string {
    // With `trustProxy`, each read parses the forwarded addresses.
    return (this.#ip ??= addressOf(this.#request))
  }

  get principal(): string | undefined {
    return this.#principal()?.id
  }

  get tenant(): string | undefined {
    return this.#principal()?.tenantId
  }

  /** A request that names several accounts proves none of them. */
  get account(): string | undefined {
    return this.accounts.length === 1 ? this.accounts[0] : undefined
  }

  get accounts(): readonly string[] {
    return (this.#accounts ??= accountsOf(attempt(() => this.#sources.account(this.#request))))
  }

  get apiKey(): string | undefined {
    return this.headers[this.#sources.apiKeyHeader]
  }

  get route(): string {
    // HEAD is answered as GET, by the same handler.
    const method = this.#request.method === 'HEAD' ? 'GET' : this.#request.method
    return `${method} ${this.#request.routeOptions.url ?? '(none)'}`
  }

  get headers(): Readonly<Record<string, string>> {
    // Only `set-cookie` is an array, and that is no header of requests.
    return this.#request.headers as Record<string, string>
  }

  /** A login that fails leaves the request anonymous, and so limited by address. */
  #principal(): Principal | null | undefined {
    return attempt(() => this.#sources.principalOf(this.#request))
  }
}

/** The client address. A UNIX socket has none, and a function as `trustProxy` may throw. */
export function addressOf(request: FastifyRequest): string {
  return attempt(() => request.ip as string | undefined) ?? 'unknown'
}
