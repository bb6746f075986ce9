import * as api from '@parapet/sessions'
import {
  checkErrorsTable,
  checkEventsTable,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  checkSnippets,
  readReadme,
} from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

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
    'PARAPET_SESSIONS_CROSS_SITE',
    'PARAPET_SESSIONS_INVALID_ARGUMENT',
    'PARAPET_SESSIONS_INVALID_KEY',
    'PARAPET_SESSIONS_INVALID_OPTION',
    'PARAPET_SESSIONS_INVALID_RULE',
    'PARAPET_SESSIONS_KEY_NOT_PUBLISHED',
    'PARAPET_SESSIONS_LOGIN_FAILED',
    'PARAPET_SESSIONS_NOT_FOUND',
    'PARAPET_SESSIONS_REFRESH_REFUSED',
    'PARAPET_SESSIONS_SSO_REFUSED',
    'PARAPET_SESSIONS_TOKEN_TOO_LARGE',
    'PARAPET_SESSIONS_UNAUTHENTICATED',
    'PARAPET_SESSIONS_UNAVAILABLE',
    'allowInsecureProvider',
    'allowRsa2048',
    'createJwsGate',
    'createPasswordCheck',
    'default',
    'generateKey',
    'generateSecret',
    'hashPassword',
    'needsRehash',
    'sessions',
    'verifyPassword',
  ])
  t.equal(api.default, api.sessions, 'named and default export are the same function')
})
