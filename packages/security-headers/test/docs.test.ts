import * as api from '@parapet/security-headers'
import { checkPluginDocs, readReadme } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'
import { deniedFeatures } from '../src/policy/permissions-policy.ts'

const home = new URL('../', import.meta.url)

await t.test('the README and the exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'securityHeaders',
    names: [],
    options: optionTable,
    events,
  }),
)

await t.test('the README states the number of denied features', async (t) => {
  t.match(readReadme(home), `${deniedFeatures.length} features denied`)
})
