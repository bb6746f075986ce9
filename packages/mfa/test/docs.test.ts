import fastifySwagger from '@fastify/swagger'
import * as api from '@parapet/mfa'
import {
  checkErrorsTable,
  checkEventsTable,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  checkSnippets,
  readReadme,
} from '@parapet/testing'
import { Validator } from '@seriousme/openapi-schema-validator'
import Fastify from 'fastify'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'
import { KEYS } from './helpers.ts'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README is short, and its tables tell what the code has', async (t) => {
  checkReadmeLength(t, readme)
  checkOptionsTable(t, readme, optionTable)
  checkErrorsTable(t, readme, api)
  checkEventsTable(t, readme, events)
})

await t.test('the examples of the README compile, run and print what they say', async (t) => {
  await checkSnippets(t, home)
})

await t.test('the package exports what it promises, and nothing else', async (t) => {
  checkPublicNames(t, api, [
    'PARAPET_MFA_ACCOUNT_UNREADABLE',
    'PARAPET_MFA_BUSY',
    'PARAPET_MFA_CHALLENGE_REFUSED',
    'PARAPET_MFA_CODE_MISTYPED',
    'PARAPET_MFA_CODE_REFUSED',
    'PARAPET_MFA_CODE_USED',
    'PARAPET_MFA_ENROLMENT_REQUIRED',
    'PARAPET_MFA_FORBIDDEN',
    'PARAPET_MFA_GUESSABLE',
    'PARAPET_MFA_INVALID_ARGUMENT',
    'PARAPET_MFA_INVALID_OPTION',
    'PARAPET_MFA_INVALID_RULE',
    'PARAPET_MFA_LOCKED',
    'PARAPET_MFA_LOGIN_REQUIRED',
    'PARAPET_MFA_NOT_FOUND',
    'PARAPET_MFA_NO_KEY',
    'PARAPET_MFA_PASSKEY_NOT_ADDED',
    'PARAPET_MFA_PASSKEY_REFUSED',
    'PARAPET_MFA_STEP_UP_REQUIRED',
    'PARAPET_MFA_THROTTLED',
    'PARAPET_MFA_TICKET_REFUSED',
    'createSqlAccounts',
    'createStoreAccounts',
    'default',
    'mfa',
    'migrations',
  ])
  t.equal(api.default, api.mfa, 'named and default export are the same function')
})

await t.test('the routes describe themselves in OpenAPI 3.1', async (t) => {
  const app = Fastify()
  t.after(() => app.close())
  const info = { title: 'mfa', version: '0.0.0' }
  await app.register(fastifySwagger, { openapi: { openapi: '3.1.0', info } })
  await app.register(api.mfa, {
    issuer: 'Acme',
    keys: KEYS,
    passkeys: { rpId: 'example.org', origins: ['https://example.org'] },
    signIn: async () => ({}),
  })
  await app.ready()
  const description = app.swagger()
  const { valid, errors } = await new Validator().validate({ ...description })
  t.equal(valid, true, JSON.stringify(errors))
  const operations = Object.values(description.paths ?? {}).flatMap((path) =>
    Object.values((path ?? {}) as Record<string, { operationId: string }>),
  )
  t.equal(operations.length, 18)
  for (const { operationId } of operations) t.match(operationId, /^mfa[A-Z]/)
  for (const path of Object.keys(description.paths ?? {})) {
    t.ok(readme.includes(`\`${path.replace(/\{(\w+)\}/g, ':$1')}\``), `the README lists ${path}`)
  }
})
