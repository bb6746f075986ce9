import * as api from '@parapet/input-guard'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, the docblocks and the exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'inputGuard',
    names: [
      'CountryCode',
      'DateRange',
      'FutureDate',
      'Money',
      'Multiple',
      'PastDate',
      'PersonName',
      'Phone',
      'SafeEmail',
      'SafeFilename',
      'SafeHtml',
      'SafeJson',
      'SafeRedirect',
      'SafeText',
      'SafeUrl',
      'SearchQuery',
      'Slug',
      'Uuid',
      'connectionGuard',
      'createSafeFetch',
      'downloadHeaders',
      'encodeFor',
      'guardedSchemas',
      'jsonGuard',
      'resolveRedirect',
    ],
    options: optionTable,
    events,
  }),
)
