import * as api from '@parapet/field-encryption'
import {
  checkErrorsTable,
  checkEventsTable,
  checkOptionsTable,
  checkPublicNames,
  checkReadmeLength,
  checkSnippets,
  readReadme,
} from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)
const readme = readReadme(home)

await t.test('the README is short, and its tables tell what the code has', async (t) => {
  checkReadmeLength(t, readme)
  checkOptionsTable(t, readme, optionTable)
  checkErrorsTable(t, readme, api)
  checkEventsTable(t, readme, events)
})

await t.test('the examples of the README compile, run and print what they say', async (t) => {
  await checkSnippets(t, home)
})

await t.test('the package exports what it promises, and nothing else', async (t) => {
  const errors = Object.keys(api).filter((name) => name.startsWith('PARAPET_FIELD_ENCRYPTION_'))
  checkPublicNames(t, api, [
    ...errors,
    'Encrypted',
    'addPrimaryKey',
    'blind',
    'contextParts',
    'createAwsKmsProvider',
    'createJsonImporter',
    'createKeysetCipher',
    'createLocalFileStore',
    'createLocalProvider',
    'createMemoryKeyStore',
    'createPkcs11Provider',
    'createPostgresKeyStore',
    'createS3FileStore',
    'createVaultProvider',
    'default',
    'exportKeyset',
    'fieldEncryption',
    'generateKeyset',
    'lockKeyset',
    'mask',
    'parseKeyset',
    'sendFile',
    'setKeyStatus',
    'verifyReceipt',
    'withPrincipal',
  ])
  t.equal(api.default, api.fieldEncryption, 'named and default export are the same function')
})
