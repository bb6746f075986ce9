/** Hostile requests get a response that the OpenAPI description lists, and never a 5xx. */
import { uuidV7 } from '@parapet/kit'
import { runs } from '@parapet/testing'
import fc from 'fast-check'
import t from 'tap'
import { roles } from '../../src/access/policy.ts'
import { signIn } from '../support/sign-in.ts'
import { createTestApp, openDatabase } from '../support/test-app.ts'

interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string }[]
  readonly responses: Readonly<Record<string, Response>>
  readonly requestBody?: {
    readonly content: { readonly 'application/json'?: { readonly schema: Schema } }
  }
}
interface Response {
  readonly content?: Readonly<Record<string, unknown>>
}
interface Schema {
  readonly properties?: Readonly<Record<string, unknown>>
}

const database = await openDatabase(t)

/** Texts that have broken parsers, databases, logs and pages. */
const hostileText = fc.oneof(
  // oxfmt-ignore
  fc.constantFrom(
    '', '\u0000', 'a\u0000b', '\ud800', "' OR 1=1 --", '../../etc/passwd', '\r\nSet-Cookie: a=b',
    '__proto__', 'constructor', '{{7*7}}', '<script>', '\u202e', 'İ', '+525512345678', 'me', 'csv',
    '"1"', '*', '99999999999999999999', '-0', '1e309', uuidV7(), 'a@example.com', 'published',
  ),
  fc.string({ unit: 'binary', maxLength: 80 }),
)
const anything = fc.oneof(
  hostileText,
  fc.jsonValue({ maxDepth: 2 }),
  fc.integer(),
  fc.constant(null),
)

await t.test('hostile requests get only responses that are described', async (t) => {
  const { app } = await createTestApp(t, database)
  const { paths } = app.swagger() as unknown as {
    paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  }
  const operations = Object.entries(paths)
    // A feed has no end; the tests of the console and of the incidents read them.
    .filter(([path]) => !/\/(?:feed|stream)$/.test(path))
    .flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    )
  const request = fc.constantFrom(...operations).chain(({ path, method, operation }) => {
    const schema = operation.requestBody?.content['application/json']?.schema
    const names = Object.keys(schema?.properties ?? {})
    const queries = (operation.parameters ?? []).filter((parameter) => parameter.in === 'query')
    return fc.record({
      described: fc.constant(operation.responses),
      method: fc.constant(method.toUpperCase() as 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE'),
      path: fc
        .array(hostileText, { minLength: 2, maxLength: 2 })
        .map((values) => path.replaceAll(/\{[^}]+\}/g, () => escape(values.pop() ?? ''))),
      query: fc.dictionary(fc.constantFrom('x', ...queries.map(({ name }) => name)), hostileText),
      body: fc.oneof(
        { weight: 4, arbitrary: fc.dictionary(fc.constantFrom('x', ...names), anything) },
        anything,
      ),
      role: fc.constantFrom(undefined, ...roles),
      match: fc.option(hostileText.map(escape), { nil: undefined }),
    })
  })
  const seen = new Set<number>()
  await fc.assert(
    fc.asyncProperty(request, async ({ described, method, path, query, body, role, match }) => {
      const pairs = Object.entries(query).map(([name, value]) => `${name}=${escape(value)}`)
      const rows = JSON.stringify(await database.rows())
      const answer = await app.inject({
        method,
        url: `${path}?${pairs.join('&')}`,
        headers: {
          'content-type': 'application/json',
          ...(match === undefined ? undefined : { 'if-match': match }),
          ...(role === undefined ? undefined : await signIn(app, role)),
        },
        ...(method === 'GET' ? undefined : { payload: JSON.stringify(body) }),
      })
      const { statusCode: status, headers } = answer
      seen.add(status)
      if (status >= 500) throw new Error(`${status}: ${answer.body}`)
      if (
        status >= 400 &&
        !String(headers['content-type']).startsWith('application/problem+json')
      ) {
        throw new Error(`${status} is not a problem: ${String(headers['content-type'])}`)
      }
      if (status >= 400) {
        const problem = answer.json<{ status: number }>()
        if (problem.status !== status) throw new Error(`${status}: the body says ${problem.status}`)
        const unchanged = JSON.stringify(await database.rows()) === rows
        if (!unchanged) throw new Error(`${status} changed a row`)
      }
      const response = described[status] ?? described[`${String(status)[0]}XX`]
      if (response === undefined) throw new Error(`${status} is not described`)
      const [type = ''] = String(headers['content-type'] ?? '').split(';')
      const { content = {} } = response
      if (answer.body !== '' && !(type in content) && !('*/*' in content)) {
        throw new Error(`${status}: ${type} is not described`)
      }
      if (status === 401 && headers['www-authenticate'] === undefined) {
        throw new Error('401 without a challenge')
      }
      if (headers['x-content-type-options'] !== 'nosniff')
        throw new Error(`${status} has no security headers`)
    }),
    { numRuns: runs(400, 20_000) },
  )
  t.match([...seen], [Number], 'there were responses')
  for (const status of [400, 401, 403])
    t.ok(seen.has(status), `there were responses with ${status}`)
})

/** Percent-encodes a text. A lone surrogate, which has no UTF-8 form, becomes an invalid byte. */
function escape(text: string): string {
  return text.isWellFormed() ? encodeURIComponent(text) : '%ED'
}
