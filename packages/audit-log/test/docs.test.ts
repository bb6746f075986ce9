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
      'SinkBusy',
      'SinkPartialRefusal',
      'SinkRefusal',
      'builtInRules',
      'defineActions',
      'diff',
      'ephemeralDirectory',
      'grantsFor',
      'hmac',
      'migrations',
      'pii',
      'replaceLostKey',
      'securityLogger',
      'sinks',
      'toCef',
      'toEcs',
      'toOcsf',
      'toTlogProof',
    ],
    options: optionTable,
    events,
  }),
)
