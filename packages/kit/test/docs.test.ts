import * as kit from '@parapet/kit'
import {
  checkErrorDocs,
  checkEventDescriptions,
  checkInstallNote,
  checkPublicNames,
  checkReadmeLength,
  checkReferenceLink,
  checkSnippets,
  readReadme,
} from '@parapet/testing'
import t from 'tap'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README is short, and every error and event is described', async (t) => {
  checkReadmeLength(t, readme)
  checkInstallNote(t, readme)
  checkReferenceLink(t, readme, '@parapet/kit')
  checkEventDescriptions(t, kit.kitEvents)
  await checkErrorDocs(t, home, kit)
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
    'PARAPET_KIT_FOLDER_IN_USE',
    'PARAPET_KIT_INVALID_ARGUMENT',
    'PARAPET_KIT_INVALID_OPTION',
    'PARAPET_KIT_INVALID_PRINCIPAL',
    'PARAPET_KIT_JOBS_CLOSED',
    'PARAPET_KIT_JOBS_FAILED',
    'PARAPET_KIT_JOBS_FULL',
    'PARAPET_KIT_JOBS_TIMEOUT',
    'PARAPET_KIT_JOB_STOPPED',
    'PARAPET_KIT_MIGRATION_BLOCKED',
    'PARAPET_KIT_MIGRATION_CHANGED',
    'PARAPET_KIT_MIGRATION_FAILED',
    'PARAPET_KIT_NO_SCHEMA',
    'PARAPET_KIT_PRINCIPAL_TIMEOUT',
    'PARAPET_KIT_SQL_TIMEOUT',
    'PARAPET_KIT_STORE_FAILED',
    'PARAPET_KIT_STORE_FULL',
    'PARAPET_KIT_STORE_TIMEOUT',
    'PARAPET_KIT_STORE_UNAVAILABLE',
    'PARAPET_KIT_STORE_UNSAFE',
    'PARAPET_KIT_TRANSACTION_ENDED',
    'PARAPET_KIT_TRANSACTION_ROLLED_BACK',
    'PARAPET_KIT_WRONG_ORDER',
    'SEALED_MARK',
    'SEALED_OVERHEAD_BYTES',
    'acceptEmptyBody',
    'clientKey',
    'compileRouteRule',
    'conflict',
    'createBreaker',
    'createCidrMatcher',
    'createError',
    'createEventFold',
    'createLocalCipher',
    'createManualClock',
    'createNamedRoutes',
    'createMemoryJobs',
    'createMemoryStore',
    'createPgBossDb',
    'createPgBossJobs',
    'createRedisStore',
    'createSealer',
    'createSqlClient',
    'createUuidV7',
    'declarePhase',
    'encodeContext',
    'followSharedState',
    'generateCipherKey',
    'keepAddress',
    'keyIdOf',
    'kitEvents',
    'isInside',
    'listRoutes',
    'lockFolder',
    'migrate',
    'migrationStatus',
    'namedRoutePattern',
    'missedRoute',
    'openSealed',
    'option',
    'optionGroup',
    'parseAddress',
    'parseClientAddress',
    'parseCipherKeys',
    'parsePrincipal',
    'parseSealedText',
    'phases',
    'problemErrorHandler',
    'problemMediaType',
    'problemNotFoundHandler',
    'readCookie',
    'readFastifyInternal',
    'readOptions',
    'replaceForeignErrors',
    'requestSource',
    'resealAll',
    'retryConflicts',
    'sealedTextLength',
    'secretsEqual',
    'systemClock',
    'takeRandom',
    'toProblem',
    'trustsEveryProxy',
    'updateText',
    'usePrincipal',
    'useSecurityEvents',
    'useStoreEvents',
    'uuidV7',
    'withDeadline',
  ])
})
