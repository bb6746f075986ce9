/** Single lines on small apps: where they fail, where they pass, and where they ask a person. */
import cookie from '@fastify/cookie'
import cors from '@fastify/cors'
import jwt from '@fastify/jwt'
import rateLimit from '@fastify/rate-limit'
import session from '@fastify/session'
import type { PostureOptions } from '@parapet/posture'
import { randomBytes } from 'node:crypto'
import type { FastifyInstance, FastifyServerOptions } from 'fastify'
import t, { type Test } from 'tap'
import { check, create, lineOf, placesOf } from './helpers.ts'

type Build = (app: FastifyInstance) => unknown

interface Case {
  readonly line: string
  readonly status: 'pass' | 'fail' | 'manual' | 'not-applicable'
  readonly title: string
  readonly build: Build
  readonly server?: FastifyServerOptions
  readonly options?: PostureOptions
  readonly evidence?: RegExp
}

const users = { findOne: async (filter: object): Promise<object> => filter }
const targetCallback = async (...given: unknown[]): Promise<number> => given.length
const exceptionsHandler = { next: (...given: unknown[]): number => given.length }
const strong = randomBytes(32).toString('base64')
const text = { type: 'string', maxLength: 50 }
const closed = { type: 'object', additionalProperties: false, properties: { name: text } }
const send =
  (value: object | string, headers: Readonly<Record<string, string>> = {}): Build =>
  (app) =>
    app.get('/a', async (_, reply) => reply.headers(headers).send(value))
const csp = (policy: string): Build => send({ a: 1 }, { 'content-security-policy': policy })

/** Guards a route by a token, as most apps do. */
const guarded =
  (secret: string, sign = { expiresIn: '10m' }): Build =>
  async (app) => {
    await app.register(jwt, { secret, sign })
    app.get('/mine', { onRequest: async (request) => request.jwtVerify() }, async () => ({
      mine: 1,
    }))
  }

const CASES: readonly Case[] = [
  // Headers
  {
    line: 'HDR-02',
    status: 'fail',
    title: 'inline scripts are allowed',
    build: csp("script-src 'self' 'unsafe-inline'"),
  },
  {
    line: 'HDR-02',
    status: 'fail',
    title: 'eval is allowed',
    build: csp("default-src 'self' 'unsafe-eval'"),
  },
  {
    line: 'HDR-02',
    status: 'fail',
    title: 'scripts come from everywhere',
    build: csp("script-src https: 'self'"),
  },
  {
    line: 'HDR-02',
    status: 'pass',
    title: 'a nonce overrides unsafe-inline',
    build: csp("script-src 'nonce-abc' 'unsafe-inline' 'strict-dynamic' https:; object-src 'none'"),
  },
  {
    line: 'HDR-02',
    status: 'pass',
    title: 'nothing is allowed',
    build: csp("default-src 'none'; frame-ancestors 'none'"),
  },
  {
    line: 'HDR-04',
    status: 'fail',
    title: 'every site may frame',
    build: csp('frame-ancestors *'),
  },
  {
    line: 'HDR-05',
    status: 'fail',
    title: 'the whole address is sent',
    build: send('a', { 'referrer-policy': 'unsafe-url' }),
  },
  {
    line: 'HDR-06',
    status: 'fail',
    title: 'the server names itself',
    build: send('a', { server: 'nginx/1.2' }),
  },
  {
    line: 'HDR-07',
    status: 'fail',
    title: 'the old filter is on',
    build: send('a', { 'x-xss-protection': '1; mode=block' }),
  },
  {
    line: 'HDR-07',
    status: 'pass',
    title: 'the old filter is off',
    build: send('a', { 'x-xss-protection': '0' }),
  },
  {
    line: 'HDR-11',
    status: 'fail',
    title: 'a response with a cookie is cached',
    build: send('a', { 'set-cookie': 'sid=1', 'cache-control': 'max-age=60' }),
  },
  {
    line: 'HDR-11',
    status: 'pass',
    title: 'a response with a cookie is not stored',
    build: send('a', { 'set-cookie': 'sid=1', 'cache-control': 'no-store' }),
  },
  {
    line: 'TLS-01',
    status: 'fail',
    title: 'a day is too short',
    build: send('a', { 'strict-transport-security': 'max-age=86400' }),
  },
  // Cookies
  {
    line: 'COO-01',
    status: 'fail',
    title: 'a cookie goes over HTTP',
    build: send('a', { 'set-cookie': 'sid=1; HttpOnly' }),
  },
  {
    line: 'COO-02',
    status: 'fail',
    title: 'scripts read the session',
    build: send('a', { 'set-cookie': 'sid=1; Secure' }),
  },
  {
    line: 'COO-02',
    status: 'pass',
    title: 'scripts read a CSRF token',
    build: send('a', { 'set-cookie': '__Host-csrf=1; Secure; SameSite=Lax' }),
  },
  {
    line: 'COO-03',
    status: 'fail',
    title: 'every site sends the cookie',
    build: send('a', { 'set-cookie': 'sid=1; Secure; SameSite=None' }),
  },
  {
    line: 'COO-04',
    status: 'pass',
    title: 'a prefix',
    build: send('a', { 'set-cookie': '__Host-sid=1; Secure; HttpOnly; Path=/; SameSite=Lax' }),
  },
  { line: 'COO-01', status: 'not-applicable', title: 'no cookie', build: send('a') },
  // CORS
  {
    line: 'COR-01',
    status: 'pass',
    title: 'one origin by name',
    build: async (app) => {
      await app.register(cors, { origin: 'https://shop.example.com' })
      app.get('/a', async () => 'a')
    },
  },
  {
    line: 'COR-02',
    status: 'fail',
    title: 'the origin "null" is allowed',
    build: async (app) => {
      await app.register(cors, { origin: ['null'], credentials: true })
      app.get('/a', async () => 'a')
    },
  },
  {
    line: 'COR-01',
    status: 'pass',
    title: 'public data for all',
    build: send({ a: 1 }, { 'access-control-allow-origin': '*' }),
  },
  // CSRF
  {
    line: 'CSR-01',
    status: 'fail',
    title: 'a session by cookie without a token',
    build: async (app) => {
      await app.register(cookie)
      await app.register(session, { secret: strong })
      app.post('/transfer', async (request) => ({ by: request.session.sessionId }))
    },
  },
  {
    line: 'CSR-01',
    status: 'pass',
    title: 'a hook checks Sec-Fetch-Site',
    build: (app) => {
      app.addHook('onRequest', async function isolate(request, reply) {
        if (request.headers['sec-fetch-site'] === 'cross-site') await reply.code(403).send({})
      })
      app.post('/transfer', async (request) => ({
        by: request.headers.cookie,
        other: (request as unknown as { cookies: { sid: string } }).cookies.sid,
      }))
    },
  },
  {
    line: 'CSR-01',
    status: 'not-applicable',
    title: 'no cookie is used',
    build: (app) => app.post('/a', async () => 'a'),
  },
  {
    line: 'CSR-02',
    status: 'fail',
    title: 'a verb in the path of a GET',
    build: (app) => app.get('/users/:id/deactivate', async () => 'a'),
  },
  // Authentication
  {
    line: 'AUT-01',
    status: 'fail',
    title: 'no hook checks the client',
    build: (app) => app.post('/items', async () => 'a'),
  },
  {
    line: 'AUT-01',
    status: 'pass',
    title: 'a login is public by its nature',
    build: (app) => app.post('/login', async () => 'a'),
  },
  {
    line: 'AUT-01',
    status: 'pass',
    title: 'the user declares the route public',
    build: (app) => app.post('/items', async () => 'a'),
    options: { public: ['POST /items'] },
  },
  {
    line: 'AUT-01',
    status: 'pass',
    title: 'a bound hook without a name is read',
    build: (app) => {
      app.decorate(
        'guard',
        async (
          request: { headers: { authorization?: string } },
          reply: { code(n: number): { send(b: object): unknown } },
        ) => {
          if (request.headers.authorization !== 'x') return reply.code(401).send({})
          return undefined
        },
      )
      app.post(
        '/items',
        { onRequest: (app as unknown as { guard: () => Promise<void> }).guard },
        async () => 'a',
      )
    },
  },
  {
    line: 'AUT-01',
    status: 'fail',
    title: 'a hook of an open route does not guard, though it speaks of tokens',
    build: (app) => {
      app.addHook('onRequest', async function authLogger(request) {
        request.log.info({ has: request.headers.authorization !== undefined, code: 401 })
      })
      app.get('/open', async () => 'a')
      app.post('/items', async () => 'a')
    },
    evidence: /POST \/items: none of its hooks checks the client/,
  },
  {
    line: 'AUT-01',
    status: 'fail',
    title: 'a hook that only logs does not guard, whatever its name is',
    build: (app) => {
      app.addHook('onRequest', async function authenticate(request) {
        request.log.info({ has: request.headers.authorization !== undefined })
      })
      app.post('/items', async () => 'a')
    },
  },
  {
    line: 'AUT-01',
    status: 'manual',
    title: 'a hook that decides by the address is left to a person',
    build: (app) => {
      app.addHook('onRequest', async function authenticate(request, reply) {
        if (request.url.startsWith('/open')) return
        if (request.headers.authorization !== 'x') await reply.code(401).send({})
      })
      app.get('/open', async () => 'a')
      app.post('/items', async () => 'a')
    },
    evidence: /decides by the address; run with --active/,
  },
  {
    line: 'AUT-02',
    status: 'fail',
    title: 'a read without a login',
    build: send({ a: 1 }),
    evidence: /an anonymous GET got 200/,
  },
  {
    line: 'AUT-02',
    status: 'pass',
    title: 'health checks are public',
    build: (app) => app.get('/health', async () => 'a'),
  },
  {
    line: 'AUT-03',
    status: 'fail',
    title: 'a token is decoded only',
    build: async (app) => {
      await app.register(jwt, { secret: strong })
      app.get('/mine', async (request, reply) => {
        const user = app.jwt.decode((request.headers.authorization ?? '').slice(7))
        return user === null ? reply.code(401).send({}) : { mine: 1 }
      })
    },
    evidence: /"alg": "none"/,
  },
  { line: 'AUT-03', status: 'pass', title: 'tokens are verified', build: guarded(strong) },
  { line: 'AUT-04', status: 'fail', title: 'a guessed key', build: guarded('secret') },
  { line: 'AUT-04', status: 'pass', title: 'a random key', build: guarded(strong) },
  {
    line: 'AUT-05',
    status: 'fail',
    title: 'tokens for ever',
    build: guarded(strong, {} as { expiresIn: string }),
  },
  {
    line: 'AUT-05',
    status: 'fail',
    title: 'tokens for a month',
    build: guarded(strong, { expiresIn: '30d' }),
  },
  { line: 'AUT-05', status: 'pass', title: 'tokens for minutes', build: guarded(strong) },
  {
    line: 'AUT-07',
    status: 'fail',
    title: 'passwords of 6 characters',
    build: (app) =>
      app.post(
        '/register',
        {
          schema: {
            body: { type: 'object', properties: { password: { type: 'string', minLength: 6 } } },
          },
        },
        async () => 'a',
      ),
  },
  {
    line: 'AUT-07',
    status: 'fail',
    title: 'a short password may be set where the address names a token',
    build: (app) =>
      app.post(
        '/password-reset/:token',
        { schema: { body: { type: 'object', properties: { password: { type: 'string' } } } } },
        async () => 'a',
      ),
  },
  {
    line: 'AUT-07',
    status: 'fail',
    title: 'a short password is a member of a member',
    build: (app) =>
      app.post(
        '/users',
        {
          schema: {
            body: {
              type: 'object',
              properties: {
                user: {
                  type: 'object',
                  properties: { password: { type: 'string', minLength: 4 } },
                },
              },
            },
          },
        },
        async () => 'a',
      ),
  },
  {
    line: 'AUT-07',
    status: 'not-applicable',
    title: 'a login takes passwords of any length',
    build: (app) =>
      app.post(
        '/auth/token',
        { schema: { body: { type: 'object', properties: { password: { type: 'string' } } } } },
        async () => 'a',
      ),
  },
  {
    line: 'AUT-01',
    status: 'manual',
    title: 'NestJS runs guards within the handler',
    build: (app) => {
      app.post('/cats', async (req, res) => {
        try {
          return await targetCallback(req, res)
        } catch (error) {
          return exceptionsHandler.next(error, res)
        }
      })
    },
    evidence: /NestJS runs its guards/,
  },
  {
    line: 'INJ-05',
    status: 'fail',
    title: 'a member of a body without a schema is a filter',
    build: (app) =>
      app.post('/find', async (request) => {
        return users.findOne({ name: (request.body as { name: string }).name })
      }),
  },
  {
    line: 'INJ-05',
    status: 'pass',
    title: 'a schema makes the member a text',
    build: (app) =>
      app.post('/find', { schema: { body: closed } }, async (request) => {
        return users.findOne({ name: (request.body as { name: string }).name })
      }),
  },
  {
    line: 'INJ-08',
    status: 'fail',
    title: 'an exponential pattern of a schema',
    build: (app) =>
      app.get(
        '/a',
        {
          schema: {
            querystring: {
              type: 'object',
              properties: { a: { type: 'string', pattern: '^(?:a|a)+$' } },
            },
          },
        },
        async () => 'a',
      ),
  },
  {
    line: 'AUT-08',
    status: 'fail',
    title: 'an API key in the address',
    build: (app) =>
      app.get(
        '/a',
        { schema: { querystring: { type: 'object', properties: { api_key: text } } } },
        async () => 'a',
      ),
  },
  {
    line: 'AUT-09',
    status: 'fail',
    title: 'the login names unknown accounts',
    build: (app) =>
      app.post('/login', async (_, reply) => reply.code(401).send({ error: 'User not found' })),
  },
  // Authorization
  {
    line: 'AZN-02',
    status: 'fail',
    title: 'administration is open',
    build: (app) => app.get('/admin/users', async () => []),
  },
  {
    line: 'AZN-02',
    status: 'fail',
    title: 'any login reaches administration',
    build: async (app) => {
      await guarded(strong)(app)
      app.get('/admin/users', { onRequest: async (request) => request.jwtVerify() }, async () => [])
    },
    evidence: /asks for a login, and for no role/,
  },
  {
    line: 'AZN-02',
    status: 'fail',
    title: 'a measured role reaches administration',
    build: (app) =>
      app.get('/admin/users', async (request, reply) =>
        request.headers.authorization === 'viewer' ? [] : reply.code(401).send({ role: 1 }),
      ),
    options: { roles: { viewer: { authorization: 'viewer' } } },
    evidence: /the role "viewer" got 200/,
  },
  {
    line: 'AZN-05',
    status: 'fail',
    title: 'another spelling passes a check of the address',
    server: { routerOptions: { ignoreTrailingSlash: true, caseSensitive: false } },
    build: (app) => {
      app.addHook('onRequest', async (request, reply) => {
        if (request.url === '/private' && request.headers.authorization === undefined)
          await reply.code(401).send({})
      })
      app.get('/private', async () => 'secret')
    },
    evidence: /GET \/private\/ got 200|GET \/PRIVATE got 200/,
  },
  {
    line: 'AZN-04',
    status: 'fail',
    title: 'a body sets the role',
    build: (app) =>
      app.patch(
        '/me',
        { schema: { body: { type: 'object', properties: { role: text } } } },
        async () => 'a',
      ),
  },
  // Limits
  { line: 'RAT-01', status: 'fail', title: 'no limiter', build: send('a') },
  {
    line: 'RAT-02',
    status: 'fail',
    title: 'a login without a limit of its own',
    build: async (app) => {
      await app.register(rateLimit, { max: 1000 })
      app.get('/a', async () => 'a')
      app.post('/login', async () => 'a')
    },
    evidence: /allows 1000 attempts/,
  },
  {
    line: 'RAT-02',
    status: 'pass',
    title: 'a login with a strict limit',
    build: async (app) => {
      await app.register(rateLimit, { max: 1000 })
      app.post('/login', { config: { rateLimit: { max: 5 } } as object }, async () => 'a')
    },
  },
  {
    line: 'RAT-02',
    status: 'fail',
    title: 'a login is exempt',
    build: async (app) => {
      await app.register(rateLimit, { max: 5 })
      app.post('/login', { config: { rateLimit: false } as object }, async () => 'a')
    },
  },
  {
    line: 'RAT-03',
    status: 'pass',
    title: 'a named proxy',
    server: { trustProxy: '10.0.0.1' },
    build: send('a'),
  },
  // Validation
  {
    line: 'VAL-01',
    status: 'fail',
    title: 'a body without a schema',
    build: (app) => app.post('/a', async (request) => request.body),
  },
  {
    line: 'VAL-01',
    status: 'not-applicable',
    title: 'a handler that reads no body',
    build: (app) => app.post('/a', async () => 'a'),
  },
  {
    line: 'VAL-03',
    status: 'fail',
    title: 'a list without an end',
    build: (app) =>
      app.post(
        '/a',
        {
          schema: {
            body: {
              type: 'object',
              properties: { ids: { type: 'array', items: { type: 'integer' } } },
            },
          },
        },
        async () => 'a',
      ),
  },
  {
    line: 'VAL-03',
    status: 'fail',
    title: 'a limit without a maximum',
    build: (app) =>
      app.get(
        '/a',
        { schema: { querystring: { type: 'object', properties: { limit: { type: 'integer' } } } } },
        async () => 'a',
      ),
  },
  {
    line: 'VAL-03',
    status: 'pass',
    title: 'bounds',
    build: (app) => app.post('/a', { schema: { body: closed } }, async () => 'a'),
  },
  {
    line: 'VAL-04',
    status: 'fail',
    title: 'an open object inside',
    build: (app) =>
      app.post(
        '/a',
        {
          schema: {
            body: { ...closed, properties: { to: { type: 'object', properties: { name: text } } } },
          },
        },
        async () => 'a',
      ),
  },
  {
    line: 'VAL-05',
    status: 'fail',
    title: 'one route takes 50 MiB',
    build: (app) => app.post('/a', { bodyLimit: 50 * 1024 * 1024 }, async () => 'a'),
  },
  {
    line: 'VAL-06',
    status: 'pass',
    title: 'a time limit',
    server: { requestTimeout: 5_000 },
    build: send('a'),
  },
  {
    line: 'VAL-07',
    status: 'fail',
    title: 'prototypes are not protected',
    server: { onProtoPoisoning: 'ignore' },
    build: send('a'),
  },
  {
    line: 'INJ-08',
    status: 'fail',
    title: 'an exponential pattern in a schema',
    build: (app) =>
      app.get(
        '/a',
        {
          schema: {
            querystring: {
              type: 'object',
              properties: { q: { type: 'string', pattern: '^(a+)+$' } },
            },
          },
        },
        async () => 'a',
      ),
  },
  {
    line: 'INJ-01',
    status: 'fail',
    title: 'a database complains about a quotation mark',
    build: (app) =>
      app.get('/a/:id', async (_, reply) =>
        reply.code(500).send({ message: 'syntax error at or near "\'"' }),
      ),
  },
  {
    line: 'INJ-04',
    status: 'fail',
    title: 'a file of the system is sent',
    build: (app) =>
      app.get('/f/*', async (request) =>
        (request.params as { '*': string })['*'].includes('passwd')
          ? 'root:x:0:0:root:/root:/bin/sh\n'
          : 'a',
      ),
  },
  {
    line: 'INJ-07',
    status: 'fail',
    title: 'a redirect to any site',
    build: (app) =>
      app.get('/go', async (request, reply) =>
        reply.redirect((request.query as { next?: string }).next ?? '/'),
      ),
    evidence: /led to https:\/\/attacker\.example/,
  },
  // XSS, errors
  {
    line: 'XSS-02',
    status: 'fail',
    title: 'JSON as HTML',
    build: (app) => app.get('/a', async (_, reply) => reply.type('text/html').send('{"a":1}')),
  },
  {
    line: 'ERR-01',
    status: 'fail',
    title: 'a stack in an error',
    build: (app) =>
      app.setErrorHandler((error, _, reply) =>
        reply.code(500).send({ at: (error as Error).stack }),
      ),
  },
  { line: 'ERR-02', status: 'fail', title: 'the default error handler', build: send('a') },
  {
    line: 'ERR-02',
    status: 'pass',
    title: 'a handler of errors that says nothing',
    build: (app) =>
      app.setErrorHandler((_, __, reply) => reply.code(500).send({ error: 'internal' })),
  },
  {
    line: 'ERR-02',
    status: 'pass',
    title: 'the default handler is used by no route',
    build: async (app) => {
      await app.register(async (child) => {
        child.setErrorHandler((_, __, reply) => reply.code(500).send({ error: 'internal' }))
        child.get('/child', async () => 'a')
      })
    },
  },
  {
    line: 'ERR-02',
    status: 'fail',
    title: 'the handler of one plugin',
    build: async (app) => {
      app.setErrorHandler((_, __, reply) => reply.code(500).send({ error: 'internal' }))
      await app.register(async (child) => {
        child.setErrorHandler((error, _, reply) =>
          reply.code(500).send({ error: (error as Error).message }),
        )
        child.get('/child', async () => 'a')
      })
    },
    evidence: /error handler of GET \/child/,
  },
  {
    line: 'ERR-03',
    status: 'fail',
    title: 'a document of the API is public',
    build: (app) => app.get('/docs/json', async () => ({ openapi: '3.1.0', paths: {} })),
  },
  {
    line: 'ERR-03',
    status: 'pass',
    title: 'a document of the API is meant to be public',
    build: (app) => app.get('/docs/json', async () => ({ openapi: '3.1.0', paths: {} })),
    options: { public: ['/docs/*'] },
  },
  {
    line: 'ERR-04',
    status: 'fail',
    title: 'the .env file is served',
    build: (app) =>
      app.get('/*', async (request) => (request.url === '/.env' ? 'JWT_KEY=abc\n' : 'a')),
  },
  {
    line: 'ERR-04',
    status: 'fail',
    title: 'a folder of static files holds a .env file',
    build: (app) =>
      app.get('/assets/*', async (request) =>
        request.url === '/assets/.env' ? 'JWT_KEY=abc\n' : 'a',
      ),
  },
  // Secrets, logs, audit, personal data
  {
    line: 'SEC-01',
    status: 'fail',
    title: 'a placeholder in the environment',
    build: send('a'),
    options: { environment: { JWT_SECRET: 'changeme' } },
    evidence: /^JWT_SECRET: /,
  },
  {
    line: 'SEC-01',
    status: 'pass',
    title: 'a strong secret',
    build: send('a'),
    options: { environment: { JWT_SECRET: strong } },
  },
  {
    line: 'SEC-02',
    status: 'fail',
    title: 'a response contains a secret of the environment',
    build: send({ debug: strong }),
    options: { environment: { API_KEY: strong } },
    evidence: /contains the value of API_KEY/,
  },
  {
    line: 'SEC-02',
    status: 'fail',
    title: 'a response contains a password',
    build: send({ user: { password: 'hunter2' } }),
  },
  {
    line: 'TLS-05',
    status: 'fail',
    title: 'the environment accepts any certificate',
    build: send('a'),
    options: { environment: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } },
  },
  {
    line: 'TLS-06',
    status: 'fail',
    title: 'a database elsewhere without TLS',
    build: send('a'),
    options: { environment: { DATABASE_URL: 'postgres://db.example.net/app' } },
  },
  {
    line: 'TLS-06',
    status: 'pass',
    title: 'a database elsewhere with TLS',
    build: send('a'),
    options: { environment: { DATABASE_URL: 'postgres://db.example.net/app?sslmode=verify-full' } },
  },
  {
    line: 'TLS-06',
    status: 'not-applicable',
    title: 'a database on this machine',
    build: send('a'),
    options: { environment: { DATABASE_URL: 'postgres://localhost/app' } },
  },
  { line: 'LOG-01', status: 'fail', title: 'no logger', build: send('a') },
  {
    line: 'LOG-01',
    status: 'pass',
    title: 'a logger',
    server: { logger: { level: 'error' } },
    build: send('a'),
  },
  {
    line: 'AUD-01',
    status: 'fail',
    title: 'no audit',
    build: (app) => app.post('/a', async () => 'a'),
  },
  {
    line: 'ENC-01',
    status: 'fail',
    title: 'a marked field, and nothing encrypts',
    build: (app) =>
      app.post(
        '/a',
        {
          schema: {
            body: { type: 'object', properties: { phone: { ...text, 'x-personal': true } } },
          },
        },
        async () => 'a',
      ),
    server: { ajv: { customOptions: { strict: false } } },
  },
  {
    line: 'ENC-02',
    status: 'fail',
    title: 'a field that looks personal',
    build: (app) =>
      app.post(
        '/a',
        { schema: { body: { type: 'object', properties: { iban: text } } } },
        async () => 'a',
      ),
  },
  {
    line: 'INC-02',
    status: 'pass',
    title: 'a contact',
    build: (app) =>
      app.get('/.well-known/security.txt', async () => 'Contact: mailto:security@example.com\n'),
  },
]

for (const { line, status, title, build, server, options, evidence } of CASES) {
  await t.test(`${line} ${status}: ${title}`, async (t: Test) => {
    const app = create(t, server)
    await build(app)
    const report = await check(app, options)
    const found = lineOf(report, line)
    t.equal(found.status, status, found.evidence)
    if (evidence !== undefined)
      t.match(
        found.findings.map((each) => `${each.where}: ${each.evidence}`).join('\n') ||
          found.evidence,
        evidence,
      )
    if (status === 'fail') t.ok(placesOf(report, line).every((where) => where !== ''))
    t.notMatch(JSON.stringify(report), strong.slice(0, 20), 'no secret is shown')
  })
}
