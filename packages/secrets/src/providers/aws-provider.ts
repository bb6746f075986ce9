/** Secrets in AWS Secrets Manager, by the user's own `@aws-sdk/client-secrets-manager`. */
import { option, readOptions, systemClock, type Clock } from '@parapet/kit'
import type {
  GetSecretValueCommandOutput,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager'
import {
  PARAPET_SECRETS_INVALID_OPTION,
  PARAPET_SECRETS_NOT_FOUND,
  PARAPET_SECRETS_PROVIDER_FAILED,
} from '../errors.ts'
import {
  bounded,
  pickMember,
  splitPath,
  type ProvidedSecret,
  type SecretsProvider,
} from './provider.ts'

/** What {@link createAwsProvider} takes. */
export interface AwsProviderOptions {
  /** `SecretsManagerClientConfig` of the AWS client, such as `region`. @default those of the environment */
  readonly client?: object
  /** How long a call may take. @default 5000 */
  readonly deadlineMs?: number
  readonly clock?: Clock
}

/**
 * Makes the provider. A path is the name or the ARN of a secret; `#member` selects a member of a JSON object.
 * The AWS client is loaded at the first call: install `@aws-sdk/client-secrets-manager` 3.
 *
 * @throws PARAPET_SECRETS_INVALID_OPTION
 */
export function createAwsProvider(options: AwsProviderOptions = {}): SecretsProvider {
  const settings = readOptions(
    'createAwsProvider',
    options,
    {
      client: option.custom<object>(
        (value) => (typeof value === 'object' ? undefined : 'must be an object'),
        { default: {} },
      ),
      deadlineMs: option.milliseconds({ max: 600_000, default: 5000 }),
      clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
    },
    PARAPET_SECRETS_INVALID_OPTION,
  )
  let opening: Promise<SecretsManagerClient> | undefined
  const name = 'aws'
  const read = async (path: string): Promise<ProvidedSecret> => {
    const { place } = splitPath(path)
    opening ??= openClient(settings.client)
    const { SecretString, VersionId = '' } = await readValue(await opening, place)
    if (SecretString === undefined) throw new PARAPET_SECRETS_NOT_FOUND(`aws ${place} (as text)`)
    return { value: valueOf(SecretString, path), version: VersionId }
  }
  return {
    name,
    read: (path) => bounded(read(path), { ...settings, name }),
    async close() {
      ;(await opening?.catch(() => undefined))?.destroy()
    },
  }
}

async function openClient(config: object): Promise<SecretsManagerClient> {
  try {
    const sdk = await import('@aws-sdk/client-secrets-manager')
    return new sdk.SecretsManagerClient(config)
  } catch (error) {
    const { code, name } = error as NodeJS.ErrnoException
    const reason =
      code === 'ERR_MODULE_NOT_FOUND' ? 'install @aws-sdk/client-secrets-manager' : (code ?? name)
    throw new PARAPET_SECRETS_PROVIDER_FAILED('aws', reason)
  }
}

async function readValue(
  client: SecretsManagerClient,
  place: string,
): Promise<GetSecretValueCommandOutput> {
  const { GetSecretValueCommand } = await import('@aws-sdk/client-secrets-manager')
  try {
    return await client.send(new GetSecretValueCommand({ SecretId: place }))
  } catch (error) {
    const { name } = error as Error
    if (name === 'ResourceNotFoundException') throw new PARAPET_SECRETS_NOT_FOUND(`aws ${place}`)
    throw new PARAPET_SECRETS_PROVIDER_FAILED('aws', name)
  }
}

function valueOf(text: string, path: string): string {
  const { member } = splitPath(path)
  if (member === undefined) return text
  try {
    return pickMember(JSON.parse(text) as Record<string, unknown>, path)
  } catch {
    throw new PARAPET_SECRETS_NOT_FOUND(`aws ${path}`)
  }
}
