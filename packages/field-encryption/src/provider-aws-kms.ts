/**
 * AWS KMS: data keys are made and opened by the service, bound to their encryption context.
 *
 * @see https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
 */
import { PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE } from './errors.ts'
import type { KeyContext, KeyProvider } from './provider.ts'

/** What is used of a `KMSClient` of `@aws-sdk/client-kms`. */
export interface KmsClientLike {
  send(command: never): Promise<unknown>
}

/** What {@link createAwsKmsProvider} takes. */
export interface AwsKmsProviderOptions {
  /** A `KMSClient`; it stays the caller's. */
  readonly client: KmsClientLike
  /** Id, ARN or alias of a symmetric key. */
  readonly keyId: string
}

interface Reply {
  readonly Plaintext?: Uint8Array
  readonly CiphertextBlob?: Uint8Array
}

const loadSdk = () => import('@aws-sdk/client-kms')

/** Makes the provider. `@aws-sdk/client-kms` is loaded at the first call. */
export function createAwsKmsProvider({ client, keyId }: AwsKmsProviderOptions): KeyProvider {
  const send = async (command: unknown) => (await client.send(command as never)) as Reply
  return {
    async generate(context) {
      const { GenerateDataKeyCommand } = await loadSdk()
      const { Plaintext, CiphertextBlob } = await send(
        new GenerateDataKeyCommand({
          KeyId: keyId,
          KeySpec: 'AES_256',
          EncryptionContext: contextOf(context),
        }),
      )
      return { dataKey: need(Plaintext), wrapped: need(CiphertextBlob) }
    },
    async wrap(dataKey, context) {
      const { EncryptCommand } = await loadSdk()
      const { CiphertextBlob } = await send(
        new EncryptCommand({
          KeyId: keyId,
          Plaintext: dataKey,
          EncryptionContext: contextOf(context),
        }),
      )
      return need(CiphertextBlob)
    },
    async unwrap(wrapped, context) {
      const { DecryptCommand } = await loadSdk()
      const { Plaintext } = await send(
        // The key is named, so that no other key of the account opens what an attacker put there.
        new DecryptCommand({
          KeyId: keyId,
          CiphertextBlob: wrapped,
          EncryptionContext: contextOf(context),
        }),
      )
      return need(Plaintext)
    },
    describe: () => ({ id: `aws-kms:${keyId}`, exportable: false }),
    async health() {
      const { DescribeKeyCommand } = await loadSdk()
      await send(new DescribeKeyCommand({ KeyId: keyId }))
    },
  }
}

function need(bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  return bytes
}

/** KMS takes no empty value. */
function contextOf(context: KeyContext): Record<string, string> {
  return Object.fromEntries(Object.entries(context).filter(([, value]) => value !== ''))
}
