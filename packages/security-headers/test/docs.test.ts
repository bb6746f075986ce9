import * as api from '@parapet/security-headers'
import { checkPluginDocs, readReadme } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'
import { permissionFeatures } from '../src/permissions.ts'

const home = new URL('../', import.meta.url)

await t.test('the README and the exports tell what the code does', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'securityHeaders',
    names: [],
    options: optionTable,
    events,
  }),
)

await t.test('the README counts the features it denies', async (t) => {
  t.match(readReadme(home), `${permissionFeatures.length} features denied`)
})
