import * as api from '@parapet/field-encryption'
import { checkPluginDocs } from '@parapet/testing'
import t from 'tap'
import { events } from '../src/events.ts'
import { optionTable } from '../src/options.ts'

const home = new URL('../', import.meta.url)

await t.test('the README, the docblocks and the exports agree with the code', (t) =>
  checkPluginDocs(t, {
    home,
    module: api,
    plugin: 'fieldEncryption',
    names: [
      'Encrypted',
      'addPrimaryKey',
      'blind',
      'compound',
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
      'exportKeyset',
      'generateKeyset',
      'lockKeyset',
      'mask',
      'parseKeyset',
      'sendFile',
      'setKeyStatus',
      'verifyReceipt',
      'withPrincipal',
    ],
    options: optionTable,
    events,
  }),
)
