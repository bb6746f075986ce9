/** An OpenID provider on loopback whose responses a test can change. */
import {
  createHash,
  createHmac,
  generateKeyPairSync,
  sign,
  type JsonWebKey,
  type KeyObject,
} from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import type { Test } from 'tap'
import { segment, type Json } from './forge.ts'

export const clientId = 'app'
export const clientSecret = 'a secret & signs: of all + kinds'

export interface SigningKey {
  readonly kid: string
  readonly privateKey: KeyObject
  readonly jwk: JsonWebKey
}

export function createSigningKey(kid: string, modulusLength = 2048): SigningKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength })
  const jwk = { ...publicKey.export({ format: 'jwk' }), kid, alg: 'RS256', use: 'sig' }
  return { kid, privateKey, jwk }
}

/** The responses of the provider. */
export interface Script {
  metadata: Json
  published: JsonWebKey[]
  /** Creates the response of the token endpoint. */
  answer: (nonce: string) => { readonly status?: number; readonly body: unknown }
  /** The response of the userinfo endpoint. */
  userinfo: { readonly status?: number; readonly body: unknown }
}

/** A request to the token endpoint. */
interface TokenRequest {
  readonly authorization: string | undefined
  readonly form: URLSearchParams
}

export interface HostileProvider {
  readonly issuer: string
  readonly script: Script
  readonly requests: TokenRequest[]
  /** The claims of a valid ID token. */
  readonly claims: (nonce: string) => Json
  /** The query of the callback, after the browser has visited `url`. */
  readonly approve: (url: URL) => URLSearchParams
}

export const key = createSigningKey('one')

/** Starts the provider; its initial responses are valid. */
export async function startHostileProvider(t: Test): Promise<HostileProvider> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    server.closeAllConnections()
    server.close()
  })
  const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const requests: TokenRequest[] = []
  const nonces = new Map<string, string>()
  const claims = (nonce: string): Json => {
    const now = Math.floor(Date.now() / 1000)
    return { iss: issuer, aud: clientId, sub: 'alice', iat: now, exp: now + 300, nonce }
  }
  const script: Script = {
    metadata: {
      issuer,
      authorization_endpoint: `${issuer}/authorize`,
      token_endpoint: `${issuer}/token`,
      userinfo_endpoint: `${issuer}/me`,
      jwks_uri: `${issuer}/jwks`,
      response_types_supported: ['code'],
      subject_types_supported: ['public'],
      id_token_signing_alg_values_supported: ['RS256'],
    },
    published: [key.jwk],
    answer: (nonce) => ({ body: tokens(idToken(claims(nonce))) }),
    userinfo: { body: { sub: 'alice' } },
  }
  async function reply(request: IncomingMessage): Promise<{ status?: number; body: unknown }> {
    if (request.url === '/.well-known/openid-configuration') return { body: script.metadata }
    if (request.url === '/jwks' || request.url === '/jwks?2')
      return { body: { keys: script.published } }
    if (request.url === '/me') return script.userinfo
    if (request.url !== '/token') return { status: 404, body: {} }
    const form = new URLSearchParams(await text(request))
    requests.push({ authorization: request.headers.authorization, form })
    return script.answer(nonces.get(form.get('code') ?? '') ?? '')
  }
  server.on('request', (request, response) => {
    void reply(request).then(({ status = 200, body }) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(typeof body === 'string' ? body : JSON.stringify(body))
    })
  })
  return {
    issuer,
    script,
    requests,
    claims,
    approve(url) {
      const code = `code-${nonces.size}`
      nonces.set(code, url.searchParams.get('nonce')!)
      return new URLSearchParams({ code, state: url.searchParams.get('state')! })
    },
  }
}

/** The response of a token endpoint. */
export function tokens(id_token: string, more: Json = {}): Json {
  return {
    access_token: 'an access token',
    token_type: 'Bearer',
    expires_in: 60,
    id_token,
    ...more,
  }
}

/** An ID token with this header, signed by `by`. */
export function idToken(claims: Json, header: Json = {}, by: SigningKey = key): string {
  const input = `${segment({ alg: 'RS256', kid: by.kid, ...header })}.${segment(claims)}`
  return `${input}.${sign('sha256', Buffer.from(input), by.privateKey).toString('base64url')}`
}

/** An ID token whose signature is an HMAC with the client secret. */
export function hmacIdToken(claims: Json): string {
  const input = `${segment({ alg: 'HS256' })}.${segment(claims)}`
  return `${input}.${createHmac('sha256', clientSecret).update(input).digest('base64url')}`
}

/** The left half of the hash, as in `at_hash`. */
export function halfHash(value: string): string {
  return createHash('sha256').update(value).digest().subarray(0, 16).toString('base64url')
}
