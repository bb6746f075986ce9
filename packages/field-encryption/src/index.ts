/**
 * Encrypts database fields and files with rotating keys.
 *
 * A schema marks what is encrypted. Tables seal and open rows; each ciphertext is bound to its cell.
 * Responses are masked by the roles of the caller.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { events } from './events.ts'
import { maskResponses } from './http/mask-responses.ts'
import type { FieldEncryptionRouteConfig } from './http/response-rules.ts'
import { tallyRequests } from './http/tally-requests.ts'
import { resolveOptions, type FieldEncryptionOptions } from './options.ts'
import { createService, type FieldEncryption } from './service.ts'

export {
  blind,
  compound,
  type BlindIndex,
  type BlindIndexOptions,
  type CompoundIndex,
} from './blind-index/blind-index.ts'
export type { Normalizer } from './blind-index/normalizers.ts'
export { contextParts, type FieldContext } from './crypto/field-context.ts'
export { createKeysetCipher } from './crypto/keyset-cipher.ts'
export { exportKeyset, parseKeyset } from './crypto/keyset-json.ts'
export {
  addPrimaryKey,
  generateKeyset,
  setKeyStatus,
  type Keyset,
  type KeysetKey,
  type KeyStatus,
} from './crypto/keyset.ts'
export * from './errors.ts'
// A plain import would be dropped from the declarations, and the typed events with it.
export type * from './events.ts'
export type { FileScope } from './files/file-key.ts'
export type { FileStore, StoredFile, StoredRange } from './files/file-store.ts'
export type { FileRange, Files, OpenFile, PinnedFile } from './files/files.ts'
export { createLocalFileStore } from './files/local-file-store.ts'
export {
  createS3FileStore,
  type S3ClientLike,
  type S3FileStoreOptions,
} from './files/s3-file-store.ts'
export type { FieldEncryptionRouteConfig } from './http/response-rules.ts'
export { sendFile, type SendFileOptions } from './http/send-file.ts'
export type { KeyTarget } from './key-admin/change-keys.ts'
export { verifyReceipt, type ErasureReceipt } from './key-admin/erasure-receipt.ts'
export type { ForgetRequest } from './key-admin/forget.ts'
export type { KeyAdmin } from './key-admin/key-admin.ts'
export type { KeyStatusReport, RotationReport } from './key-admin/rotate.ts'
export { createPostgresKeyStore } from './keys/key-store-postgres.ts'
export { createMemoryKeyStore, type KeyRecord, type KeyStore } from './keys/key-store.ts'
export type { CacheOptions, FieldEncryptionOptions } from './options.ts'
export * from './providers/aws-kms.ts'
export { createLocalProvider, type LocalProviderOptions } from './providers/local.ts'
export { lockKeyset } from './providers/passphrase.ts'
export * from './providers/pkcs11.ts'
export type { KeyContext, KeyProvider, KeyProviderDescription } from './providers/provider.ts'
export { createVaultProvider, type VaultProviderOptions } from './providers/vault.ts'
export { Encrypted, type EncryptedOptions } from './schema/encrypted.ts'
export { mask, type Mask } from './schema/masks.ts'
export type { FieldEncryption } from './service.ts'
export type { MigrationOptions, TableSql } from './sql/migration.ts'
export { withPrincipal, type WithPrincipalOptions } from './sql/row-level-security.ts'
export type { Row, RowChange, RowSource } from './rows/row-source.ts'
export type { MigrationStages } from './sql/stages.ts'
export {
  createJsonImporter,
  type Importer,
  type JsonImporterOptions,
} from './reencryption/json-importer.ts'
export type { ReencryptOptions, ReencryptRun } from './reencryption/reencrypt-run.ts'
export type { FailedRow, ReencryptProgress } from './reencryption/reencrypt.ts'
export type { StatusOptions, TableStatus } from './reencryption/table-status.ts'
export type { PlaintextOptions } from './rows/plaintext-columns.ts'
export type * from './rows/table-options.ts'
export type { ObjectSchema, StaticOf } from './schema/schema-types.ts'
export type * from './table/table.ts'

declare module 'fastify' {
  interface FastifyInstance {
    fieldEncryption: FieldEncryption
  }
  interface FastifyContextConfig {
    /** Roles of the caller in addition to those of the principal. @default none */
    fieldEncryption?: FieldEncryptionRouteConfig
  }
}

const NAME = '@parapet/field-encryption'
const NOT_AT_ROOT =
  'field-encryption is registered in a child context: responses of other contexts are not masked. ' +
  'Register it at the root, or wrap the plugin that registers it with fastify-plugin.'

async function fieldEncryptionPlugin(
  app: FastifyInstance,
  options: FieldEncryptionOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'masking')
  if (Object.getPrototypeOf(app) !== Object.prototype) app.log.warn(NOT_AT_ROOT)
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const { service, reports, hasTables, start, close } = createService({
    settings,
    events: securityEvents,
    warn: (fields, message) => app.log.warn(fields, message),
  })
  app.decorate('fieldEncryption', service)
  maskResponses(app, principalOf, tallyRequests(app, reports, principalOf, hasTables))
  app.addHook('onClose', close)
  await start()
}

/** The plugin. Register it with `await` before the routes whose responses it masks. */
export const fieldEncryption: FastifyPluginAsync<FieldEncryptionOptions> = fp(
  fieldEncryptionPlugin,
  { name: NAME, fastify: '5.x' },
)
export default fieldEncryption
