import * as api from '@parapet/secrets'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, docblocks and exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'secrets',
    names: [
      'Secret',
      'allowPlainHttp',
      'compileEnvironment',
      'createAwsProvider',
      'createEnvironmentProvider',
      'createFileProvider',
      'createPinoHooks',
      'createVaultClient',
      'createVaultDatabaseProvider',
      'createVaultKvProvider',
      'loadEnvFiles',
      'renderEnvExample',
      'renderEnvTable',
      'renderJsonSchema',
      'requireTogether',
      'requireWhen',
      'rotateApiKeys',
      'secretText',
    ],
    options: optionTable,
    events,
  }),
)
