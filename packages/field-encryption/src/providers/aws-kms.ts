/**
 * A provider over AWS KMS. KMS creates and unwraps data keys, bound to their encryption context.
 *
 * @see https://docs.aws.amazon.com/kms/latest/developerguide/encrypt_context.html
 */
import { PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE } from '../errors.ts'
import { probe, type KeyContext, type KeyProvider } from './provider.ts'

/** The part of a `KMSClient` of `@aws-sdk/client-kms` that is used. */
export interface KmsClientLike {
  send(command: never): Promise<unknown>
}

/** The options of {@link createAwsKmsProvider}. */
export interface AwsKmsProviderOptions {
  /** A `KMSClient`. The caller keeps it and destroys it. */
  readonly client: KmsClientLike
  /** Id, ARN or alias of a symmetric key. */
  readonly keyId: string
}

interface Reply {
  readonly Plaintext?: Uint8Array
  readonly CiphertextBlob?: Uint8Array
}

const loadSdk = () => import('@aws-sdk/client-kms')

/** Creates the provider. `@aws-sdk/client-kms` is loaded at the first call. */
export function createAwsKmsProvider({ client, keyId }: AwsKmsProviderOptions): KeyProvider {
  const send = async (command: unknown) => (await client.send(command as never)) as Reply
  const provider: KeyProvider = {
    generate: (context) => generateDataKey(send, keyId, context),
    async wrap(dataKey, context) {
      const { EncryptCommand } = await loadSdk()
      const { CiphertextBlob } = await send(
        new EncryptCommand({
          KeyId: keyId,
          Plaintext: dataKey,
          EncryptionContext: encryptionContextOf(context),
        }),
      )
      return requireBytes(CiphertextBlob)
    },
    async unwrap(wrapped, context) {
      const { DecryptCommand } = await loadSdk()
      const { Plaintext } = await send(
        // Without KeyId, KMS would accept a ciphertext that an attacker made under another key.
        new DecryptCommand({
          KeyId: keyId,
          CiphertextBlob: wrapped,
          EncryptionContext: encryptionContextOf(context),
        }),
      )
      return requireBytes(Plaintext)
    },
    describe: () => ({ id: `aws-kms:${keyId}`, exportable: false }),
    // Not DescribeKey: a policy for encryption alone does not allow it.
    health: () => probe(provider),
  }
  return provider
}

async function generateDataKey(
  send: (command: unknown) => Promise<Reply>,
  keyId: string,
  context: KeyContext,
) {
  const { GenerateDataKeyCommand } = await loadSdk()
  const { Plaintext, CiphertextBlob } = await send(
    new GenerateDataKeyCommand({
      KeyId: keyId,
      KeySpec: 'AES_256',
      EncryptionContext: encryptionContextOf(context),
    }),
  )
  return { dataKey: requireBytes(Plaintext), wrapped: requireBytes(CiphertextBlob) }
}

function requireBytes(bytes: Uint8Array | undefined): Uint8Array {
  if (bytes === undefined) throw new PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE()
  return bytes
}

/** KMS rejects empty values, so they are left out. */
function encryptionContextOf(context: KeyContext): Record<string, string> {
  return Object.fromEntries(Object.entries(context).filter(([, value]) => value !== ''))
}
