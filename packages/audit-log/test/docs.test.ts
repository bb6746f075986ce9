import * as api from '@parapet/audit-log'
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
    ...Object.keys(api).filter((name) => name.startsWith('PARAPET_AUDIT_LOG_')),
    'SinkRefusal',
    'auditLog',
    'builtInRules',
    'default',
    'defineActions',
    'diff',
    'grantsFor',
    'hmac',
    'migrations',
    'pii',
    'securityLogger',
    'sinks',
    'toCef',
    'toEcs',
    'toOcsf',
  ])
  t.equal(api.default, api.auditLog, 'named and default export are the same function')
})
