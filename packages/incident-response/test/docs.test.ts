import * as api from '@parapet/incident-response'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, the docblocks and the exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'incidentResponse',
    names: [
      'allowPrivateTarget',
      'builtInFindings',
      'builtInPlaybooks',
      'builtInResponses',
      'createMailNotifier',
      'createPagerDutyNotifier',
      'createSlackNotifier',
      'createWebhookNotifier',
      'exportCacao',
      'importCacao',
      'playbookSchema',
    ],
    options: optionTable,
    events,
  }),
)
