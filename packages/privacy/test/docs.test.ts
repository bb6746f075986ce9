import * as api from '@parapet/privacy'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, the docblocks and the exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'privacy',
    names: [
      'createFileLedger',
      'createFolderParts',
      'createMemoryLedger',
      'createMemoryRecords',
      'createSqlLedger',
      'migratePrivacy',
      'personal',
      'renderRegister',
      'signWebhook',
      'verifyReceipt',
      'verifyWebhook',
    ],
    options: optionTable,
    events,
  }),
)
