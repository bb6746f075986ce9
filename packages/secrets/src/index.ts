/**
 * Typed configuration, and secrets that rotate while the service runs.
 *
 * All secrets are loaded when the server starts, refreshed in the background, and replaced with an overlap.
 * A value is never shown: it is read by `use` where it is needed.
 */
import { useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync } from 'fastify'
import fp from 'fastify-plugin'
import { renderFindings } from './doctor/doctor.ts'
import { PARAPET_SECRETS_UNSAFE } from './errors.ts'
import { events } from './events.ts'
import { addLeakHooks } from './http/leak-hooks.ts'
import { resolveOptions, type SecretsOptions, type SecretsSettings } from './options.ts'
import { openSecrets, type Secrets } from './service.ts'

export type { Finding } from './doctor/doctor.ts'
export { renderEnvExample, renderEnvTable, renderJsonSchema } from './environment/documents.ts'
export { loadEnvFiles, type EnvFilesOptions } from './environment/env-files.ts'
export {
  compileEnvironment,
  requireTogether,
  requireWhen,
  secretText,
  type Environment,
  type EnvironmentOptions,
  type EnvironmentRule,
  type PartialEnvironment,
  type SecretTextOptions,
} from './environment/environment.ts'
export * from './errors.ts'
// Keeps the typed events in the published declarations; an import for its side effect would be dropped.
export type * from './events.ts'
export type { LeakGuard } from './leaks/leak-guard.ts'
export { createPinoHooks, type PinoHooks } from './leaks/pino-hooks.ts'
export type { SecretOptions, SecretsOptions } from './options.ts'
export { createAwsProvider, type AwsProviderOptions } from './providers/aws-provider.ts'
export { createEnvironmentProvider } from './providers/environment-provider.ts'
export { createFileProvider, type FileProviderOptions } from './providers/file-provider.ts'
export type {
  ProvidedSecret,
  ProviderFinding,
  SecretsProvider,
  StoredRecord,
  WritableProvider,
} from './providers/provider.ts'
export type { ApiKeyReports, ApiKeyRotationOptions } from './rotation/api-key-options.ts'
export {
  rotateApiKeys,
  type ApiKeyRotation,
  type ApiKeyStatus,
} from './rotation/api-key-rotation.ts'
export type { RotationStep } from './rotation/key-state.ts'
export type { RotatingSecret } from './rotation/rotating-secret.ts'
export type { Rollback, Rotation, RotationHook } from './rotation/rotation-hooks.ts'
export type { Secrets } from './service.ts'
export { Secret } from './value/secret.ts'
export {
  allowPlainHttp,
  createVaultClient,
  type VaultClient,
  type VaultOptions,
} from './vault/vault-client.ts'
export { createVaultDatabaseProvider, type VaultDatabaseOptions } from './vault/vault-database.ts'
export {
  createVaultKvProvider,
  type VaultKvMetadata,
  type VaultKvOptions,
  type VaultKvProvider,
} from './vault/vault-kv.ts'
export type { VaultAuth } from './vault/vault-login.ts'

declare module 'fastify' {
  interface FastifyInstance {
    secrets: Secrets
  }
}

const NAME = '@parapet/secrets'

async function secretsPlugin(app: FastifyInstance, options: SecretsOptions): Promise<void> {
  const settings = resolveOptions(options)
  const securityEvents = useSecurityEvents(app, events)
  const onError = (error: unknown): void => app.log.error({ err: error }, 'secrets: a call failed')
  const { close, providerNames, reportLeak, ...secrets } = await openSecrets(
    settings,
    securityEvents,
    onError,
  )
  app.decorate('secrets', secrets)
  app.addHook('onClose', close)
  const count = Object.keys(settings.secrets).length
  securityEvents.emit('secrets.loaded', { details: { secrets: count, providers: providerNames } })
  if (settings.leakGuard !== 'off') {
    addLeakHooks(app, secrets.leaks, reportLeak, settings.leakGuard)
  }
  try {
    if (settings.doctor) await runDoctor(app, secrets, settings)
  } catch (error) {
    await close()
    throw error
  }
}

/** @throws PARAPET_SECRETS_UNSAFE in production */
async function runDoctor(
  app: FastifyInstance,
  secrets: Secrets,
  { isProduction }: SecretsSettings,
): Promise<void> {
  const findings = await secrets.doctor()
  for (const { severity, name, problem, fix } of findings) {
    app.log.warn({ severity }, `secrets: "${name}" ${problem}. Fix: ${fix}.`)
  }
  const errors = findings.filter(({ severity }) => severity === 'error')
  if (isProduction && errors.length > 0) throw new PARAPET_SECRETS_UNSAFE(renderFindings(errors))
}

/** The plugin. Register it with `await`, before the plugins that use secrets. */
export const secrets: FastifyPluginAsync<SecretsOptions> = fp(secretsPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default secrets
