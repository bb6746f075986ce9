import * as api from '@parapet/sessions'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README and the exports match the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'sessions',
    names: [
      'acceptPromptAsLogin',
      'allowInsecureProvider',
      'allowRsa2048',
      'createJwsGate',
      'createPasswordCheck',
      'createPasswordPolicy',
      'createRangeFetch',
      'createZxcvbnStrength',
      'fetchBreachedRange',
      'generateKey',
      'generateSecret',
      'hashPassword',
      'needsRehash',
      'requireAccepted',
      'verifyPassword',
    ],
    options: optionTable,
    events,
  }),
)
