/**
 * A hardware security module, through PKCS#11: the root key is made in it, cannot be read out of it,
 * and wraps by AES-GCM.
 *
 * @see OASIS PKCS #11 v2.40, CKM_AES_GCM
 */
import { takeRandom } from '@parapet/kit'
import type * as pkcs11js from 'pkcs11js'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from './errors.ts'
import { bind, type KeyContext, type KeyProvider } from './provider.ts'

/** What {@link createPkcs11Provider} takes. */
export interface Pkcs11ProviderOptions {
  /** Path of the module: `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly library: string
  readonly tokenLabel: string
  readonly pin: string
  /** Label of an AES-256 key of the token. */
  readonly keyLabel: string
  /** Makes the key, not extractable, where there is none. @default false */
  readonly createKey?: boolean
}

/** The provider, and the way to let go of the module. */
export interface Pkcs11Provider extends KeyProvider {
  close(): Promise<void>
}

type Module = pkcs11js.PKCS11
type Pkcs11 = typeof pkcs11js

interface Session {
  readonly pkcs11: Pkcs11
  readonly module: Module
  readonly session: Buffer
  readonly key: Buffer
}

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** Room for a data key and its tag, and more than any of them needs. */
const OUTPUT_BYTES = 1024

/** Makes the provider. `pkcs11js` is loaded, and the token opened, at the first call. */
export function createPkcs11Provider(options: Pkcs11ProviderOptions): Pkcs11Provider {
  let opening: Promise<Session> | undefined
  /** One operation at a time: a session of PKCS#11 has room for no more. */
  let queue: Promise<unknown> = Promise.resolve()

  function run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    opening ??= openSession(options)
    const under = opening
    under.catch(() => {
      if (opening === under) opening = undefined
    })
    const turn = queue.then(async () => work(await under))
    queue = turn.catch(() => {})
    return turn
  }

  return {
    wrap: (dataKey, context) =>
      run(async ({ pkcs11, module, session, key }) => {
        const nonce = Buffer.from(takeRandom(NONCE_BYTES))
        module.C_EncryptInit(session, gcm(pkcs11, nonce, context), key)
        const output = Buffer.alloc(OUTPUT_BYTES)
        return Buffer.concat([
          nonce,
          await module.C_EncryptAsync(session, Buffer.from(dataKey), output),
        ])
      }),
    unwrap: (wrapped, context) =>
      run(async ({ pkcs11, module, session, key }) => {
        const bytes = Buffer.from(wrapped)
        if (bytes.length < NONCE_BYTES + TAG_BYTES || bytes.length > OUTPUT_BYTES) {
          throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
        }
        const nonce = bytes.subarray(0, NONCE_BYTES)
        module.C_DecryptInit(session, gcm(pkcs11, nonce, context), key)
        const output = Buffer.alloc(OUTPUT_BYTES)
        return module.C_DecryptAsync(session, bytes.subarray(NONCE_BYTES), output)
      }),
    describe: () => ({ id: `pkcs11:${options.tokenLabel}/${options.keyLabel}`, exportable: false }),
    health: () => run(async ({ module, session }) => void module.C_GetSessionInfo(session)),
    async close() {
      const under = opening
      opening = undefined
      await queue
      const open = await under?.catch(() => undefined)
      if (open === undefined) return
      open.module.C_CloseSession(open.session)
      open.module.C_Finalize()
      open.module.close()
    },
  }
}

function gcm({ CKM_AES_GCM, CK_PARAMS_AES_GCM }: Pkcs11, iv: Buffer, context: KeyContext) {
  const tagBits = 8 * TAG_BYTES
  const parameter = {
    type: CK_PARAMS_AES_GCM,
    iv,
    aad: bind(context),
    ivBits: 8 * iv.length,
    tagBits,
  }
  return { mechanism: CKM_AES_GCM, parameter }
}

async function openSession(options: Pkcs11ProviderOptions): Promise<Session> {
  const loaded = (await import('pkcs11js')) as Pkcs11 & { readonly default?: Pkcs11 }
  const pkcs11 = loaded.default ?? loaded
  const module = new pkcs11.PKCS11()
  module.load(options.library)
  module.C_Initialize()
  try {
    const slot = module
      .C_GetSlotList(true)
      .find((each) => module.C_GetTokenInfo(each).label.trim() === options.tokenLabel)
    if (slot === undefined) refuse(`the token "${options.tokenLabel}"`, 'is not in the module')
    const flags = pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION
    const session = module.C_OpenSession(slot, flags)
    module.C_Login(session, pkcs11.CKU_USER, options.pin)
    return { pkcs11, module, session, key: findKey(pkcs11, module, session, options) }
  } catch (error) {
    module.C_Finalize()
    module.close()
    throw error
  }
}

function findKey(
  pkcs11: Pkcs11,
  module: Module,
  session: Buffer,
  { keyLabel, createKey = false }: Pkcs11ProviderOptions,
): Buffer {
  const identity = [
    { type: pkcs11.CKA_CLASS, value: pkcs11.CKO_SECRET_KEY },
    { type: pkcs11.CKA_LABEL, value: keyLabel },
  ]
  module.C_FindObjectsInit(session, identity)
  const found = module.C_FindObjects(session, 1)[0]
  module.C_FindObjectsFinal(session)
  if (found !== undefined) return found
  if (!createKey) refuse(`the key "${keyLabel}"`, 'is not in the token')
  return module.C_GenerateKey(session, { mechanism: pkcs11.CKM_AES_KEY_GEN }, [
    ...identity,
    { type: pkcs11.CKA_VALUE_LEN, value: KEY_BYTES },
    { type: pkcs11.CKA_TOKEN, value: true },
    { type: pkcs11.CKA_PRIVATE, value: true },
    { type: pkcs11.CKA_SENSITIVE, value: true },
    { type: pkcs11.CKA_EXTRACTABLE, value: false },
    { type: pkcs11.CKA_ENCRYPT, value: true },
    { type: pkcs11.CKA_DECRYPT, value: true },
  ])
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT(what, problem)
}
