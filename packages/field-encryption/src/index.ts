/**
 * Encrypts fields and files so that a row cannot be read, moved or replayed, and keys rotate.
 *
 * Schemas say what is encrypted. Tables seal and open rows under keys that are at hand; replies are
 * masked by the roles of whoever asks.
 */
import { declarePhase, usePrincipal, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { events } from './events.ts'
import { resolveOptions, type FieldEncryptionOptions } from './options.ts'
import { addResponseHooks, type FieldEncryptionRouteConfig } from './response-hooks.ts'
import { createService, type FieldEncryption } from './service.ts'

export { blind, type BlindIndex, type BlindIndexOptions, type Normalizer } from './blind-index.ts'
export { createKeysetCipher } from './cipher.ts'
export { contextParts, type FieldContext } from './context.ts'
export { Encrypted, type EncryptedOptions } from './encrypted.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations: an import that emits nothing would be dropped.
export type * from './events.ts'
export { sendFile, type SendFileOptions } from './file-routes.ts'
export { createS3FileStore, type S3ClientLike, type S3FileStoreOptions } from './file-store-s3.ts'
export { createLocalFileStore, type FileStore } from './file-store.ts'
export type { FileRange, Files, FileScope, OpenFile } from './files.ts'
export { createJsonImporter, type Importer, type JsonImporterOptions } from './importers.ts'
export type {
  ForgetRequest,
  KeyAdmin,
  KeyStatusReport,
  KeyTarget,
  RotationReport,
} from './key-admin.ts'
export { createPostgresKeyStore } from './key-store-postgres.ts'
export { createMemoryKeyStore, type KeyRecord, type KeyStore } from './key-store.ts'
export {
  addPrimaryKey,
  exportKeyset,
  generateKeyset,
  parseKeyset,
  setKeyStatus,
  type Keyset,
  type KeysetKey,
  type KeyStatus,
} from './keyset.ts'
export { mask, type Mask } from './masks.ts'
export type { CacheOptions, FieldEncryptionOptions } from './options.ts'
export {
  createAwsKmsProvider,
  type AwsKmsProviderOptions,
  type KmsClientLike,
} from './provider-aws-kms.ts'
export { createLocalProvider, lockKeyset, type LocalProviderOptions } from './provider-local.ts'
export {
  createPkcs11Provider,
  type Pkcs11Provider,
  type Pkcs11ProviderOptions,
} from './provider-pkcs11.ts'
export { createVaultProvider, type VaultProviderOptions } from './provider-vault.ts'
export type { KeyContext, KeyProvider, KeyProviderDescription } from './provider.ts'
export { verifyReceipt, type ErasureReceipt } from './receipt.ts'
export type { Row } from './record-cipher.ts'
export type { ReencryptOptions, ReencryptProgress, RowSource } from './reencrypt.ts'
export type { FieldEncryptionRouteConfig } from './response-hooks.ts'
export type { FieldEncryption } from './service.ts'
export {
  withPrincipal,
  type MigrationOptions,
  type TableSql,
  type WithPrincipalOptions,
} from './sql.ts'
export type { StatusOptions, TableStatus } from './table-status.ts'
export type {
  Condition,
  ReadScope,
  RecordScope,
  Table,
  TableOptions,
  WhereOptions,
  WholeScope,
} from './table.ts'

declare module 'fastify' {
  interface FastifyInstance {
    fieldEncryption: FieldEncryption
  }
  interface FastifyContextConfig {
    /** Who asks, beyond the roles of the principal. @default nobody more */
    fieldEncryption?: FieldEncryptionRouteConfig
  }
}

const NAME = '@parapet/field-encryption'

async function fieldEncryptionPlugin(
  app: FastifyInstance,
  options: FieldEncryptionOptions,
): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'masking')
  const securityEvents = useSecurityEvents(app, events)
  const principalOf = usePrincipal(app, settings.principal)
  const { service, start, close } = createService({
    settings,
    events: securityEvents,
    warn: (fields, message) => app.log.warn(fields, message),
  })
  app.decorate('fieldEncryption', service)
  addResponseHooks(app, (request) => principalOf(request)?.roles ?? [])
  app.addHook('onClose', close)
  await start()
}

/** The plugin. Register it with `await` before the routes whose replies it is to mask. */
export const fieldEncryption: FastifyPluginAsync<FieldEncryptionOptions> = fp(
  fieldEncryptionPlugin,
  { name: NAME, fastify: '5.x' },
)
export default fieldEncryption
