import * as kit from '@parapet/kit'
import {
  checkErrorsTable,
  checkEventsTable,
  checkPublicNames,
  checkReadmeLength,
  checkSnippets,
  readReadme,
} from '@parapet/testing'
import t from 'tap'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README is short, and its tables tell what the code has', async (t) => {
  checkReadmeLength(t, readme)
  checkErrorsTable(t, readme, kit)
  checkEventsTable(t, readme, kit.kitEvents)
})

await t.test('every option of the stores is in the README', async (t) => {
  for (const name of ['client', 'prefix', 'deadlineMs', 'failureThreshold', 'cooldownMs']) {
    t.match(readme, `\`${name}\``)
  }
  for (const name of ['heartbeatMs', 'clock', 'onError', 'maxBytes']) t.match(readme, `\`${name}\``)
})

await t.test('every reader of options is in the README', async (t) => {
  for (const name of Object.keys(kit.option)) t.match(readme, `.${name}\``, name)
})

await t.test('the examples of the README compile, run and print what they say', async (t) => {
  await checkSnippets(t, home)
})

await t.test('the package exports what it promises, and nothing else', async (t) => {
  checkPublicNames(t, kit, [
    'PARAPET_KIT_CIPHER_OPEN_FAILED',
    'PARAPET_KIT_INVALID_ARGUMENT',
    'PARAPET_KIT_INVALID_OPTION',
    'PARAPET_KIT_INVALID_PRINCIPAL',
    'PARAPET_KIT_MIGRATION_CHANGED',
    'PARAPET_KIT_MIGRATION_FAILED',
    'PARAPET_KIT_STORE_FAILED',
    'PARAPET_KIT_STORE_FULL',
    'PARAPET_KIT_STORE_TIMEOUT',
    'PARAPET_KIT_STORE_UNAVAILABLE',
    'PARAPET_KIT_WRONG_ORDER',
    'clientKey',
    'createBreaker',
    'createCidrMatcher',
    'createError',
    'createLocalCipher',
    'createManualClock',
    'createMemoryStore',
    'createRedisStore',
    'createSqlClient',
    'createUuidV7',
    'declarePhase',
    'encodeContext',
    'generateCipherKey',
    'kitEvents',
    'migrate',
    'option',
    'optionGroup',
    'parseAddress',
    'parseCipherKeys',
    'parsePrincipal',
    'phases',
    'problemErrorHandler',
    'problemMediaType',
    'problemNotFoundHandler',
    'readOptions',
    'secretsEqual',
    'systemClock',
    'takeRandom',
    'toProblem',
    'usePrincipal',
    'useSecurityEvents',
    'useStoreEvents',
    'uuidV7',
    'withDeadline',
  ])
})
