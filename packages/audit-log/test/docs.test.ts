import * as api from '@parapet/audit-log'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README and the exports match the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'auditLog',
    names: [
      'SinkRefusal',
      'builtInRules',
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
    ],
    options: optionTable,
    events,
  }),
)
