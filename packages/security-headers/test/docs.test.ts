import * as api from '@parapet/security-headers'
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
import { permissionFeatures } from '../src/permissions.ts'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README is short, and its tables tell what the code has', async (t) => {
  checkReadmeLength(t, readme)
  checkOptionsTable(t, readme, optionTable)
  checkErrorsTable(t, readme, api)
  checkEventsTable(t, readme, events)
  t.match(readme, `${permissionFeatures.length} features denied`)
})

await t.test('the examples of the README compile, run and print what they say', async (t) => {
  await checkSnippets(t, home)
})

await t.test('the package exports what it promises, and nothing else', async (t) => {
  checkPublicNames(t, api, [
    'PARAPET_SECURITY_HEADERS_CROSS_SITE',
    'PARAPET_SECURITY_HEADERS_CSRF_TOKEN',
    'PARAPET_SECURITY_HEADERS_HTTPS_REQUIRED',
    'PARAPET_SECURITY_HEADERS_INVALID_OPTION',
    'PARAPET_SECURITY_HEADERS_INVALID_RULE',
    'PARAPET_SECURITY_HEADERS_MALFORMED_REPORT',
    'PARAPET_SECURITY_HEADERS_MISSED_ROUTE',
    'PARAPET_SECURITY_HEADERS_NO_NONCE',
    'PARAPET_SECURITY_HEADERS_NO_TOKEN',
    'PARAPET_SECURITY_HEADERS_TOO_MANY_REPORTS',
    'PARAPET_SECURITY_HEADERS_UNSAFE_POLICY',
    'PARAPET_SECURITY_HEADERS_WEAK_COOKIE',
    'default',
    'securityHeaders',
  ])
  t.equal(api.default, api.securityHeaders, 'named and default export are the same function')
})
