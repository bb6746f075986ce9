/**
 * A provider over a hardware security module, by PKCS#11. The root key is created in the module,
 * cannot be read out of it, and wraps by AES-GCM.
 *
 * @see OASIS PKCS #11 v2.40, CKM_AES_GCM
 */
import { takeRandom } from '@parapet/kit'
import type * as pkcs11js from 'pkcs11js'
import {
  PARAPET_FIELD_ENCRYPTION_INVALID_ARGUMENT,
  PARAPET_FIELD_ENCRYPTION_OPEN_FAILED,
} from '../errors.ts'
import { encodeKeyContext, type KeyContext, type KeyProvider } from './provider.ts'

/** The options of {@link createPkcs11Provider}. */
export interface Pkcs11ProviderOptions {
  /** Path of the PKCS#11 library: `/usr/lib/softhsm/libsofthsm2.so`. */
  readonly library: string
  readonly tokenLabel: string
  readonly pin: string
  /** Label of an AES-256 key of the token. */
  readonly keyLabel: string
  /** Creates the key, not extractable, if the token has none of this label. @default false */
  readonly createKey?: boolean
}

/** The provider, and a way to release the module. */
export interface Pkcs11Provider extends KeyProvider {
  /** Waits for running operations, then closes the session and unloads the module. */
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
/** Larger than any wrapped data key. */
const OUTPUT_BYTES = 1024

/** Creates the provider. `pkcs11js` is loaded, and the token opened, at the first call. */
export function createPkcs11Provider(options: Pkcs11ProviderOptions): Pkcs11Provider {
  const queue = new SessionQueue(options)
  return {
    wrap: (dataKey, context) => queue.run((session) => wrapKey(session, dataKey, context)),
    unwrap: (wrapped, context) => queue.run((session) => unwrapKey(session, wrapped, context)),
    describe: () => ({ id: `pkcs11:${options.tokenLabel}/${options.keyLabel}`, exportable: false }),
    health: () => queue.run(async ({ module, session }) => void module.C_GetSessionInfo(session)),
    close: () => queue.close(),
  }
}

/** Runs one operation at a time: a PKCS#11 session allows no more. */
class SessionQueue {
  readonly #options: Pkcs11ProviderOptions
  #opening: Promise<Session> | undefined
  #last: Promise<unknown> = Promise.resolve()

  constructor(options: Pkcs11ProviderOptions) {
    this.#options = options
  }

  run<T>(work: (session: Session) => Promise<T>): Promise<T> {
    this.#opening ??= openSession(this.#options)
    const opening = this.#opening
    // The next call tries again: the token may be plugged in by then.
    opening.catch(() => {
      if (this.#opening === opening) this.#opening = undefined
    })
    const result = this.#last.then(async () => work(await opening))
    this.#last = result.catch(() => {})
    return result
  }

  async close(): Promise<void> {
    const opening = this.#opening
    this.#opening = undefined
    await this.#last
    const open = await opening?.catch(() => undefined)
    if (open === undefined) return
    open.module.C_CloseSession(open.session)
    open.module.C_Finalize()
    open.module.close()
  }
}

async function wrapKey(
  { pkcs11, module, session, key }: Session,
  dataKey: Uint8Array,
  context: KeyContext,
): Promise<Buffer> {
  const nonce = Buffer.from(takeRandom(NONCE_BYTES))
  module.C_EncryptInit(session, gcmMechanism(pkcs11, nonce, context), key)
  const output = Buffer.alloc(OUTPUT_BYTES)
  const encrypted = await module.C_EncryptAsync(session, Buffer.from(dataKey), output)
  return Buffer.concat([nonce, encrypted])
}

async function unwrapKey(
  { pkcs11, module, session, key }: Session,
  wrapped: Uint8Array,
  context: KeyContext,
): Promise<Buffer> {
  const bytes = Buffer.from(wrapped)
  if (bytes.length < NONCE_BYTES + TAG_BYTES || bytes.length > OUTPUT_BYTES) {
    throw new PARAPET_FIELD_ENCRYPTION_OPEN_FAILED()
  }
  const nonce = bytes.subarray(0, NONCE_BYTES)
  module.C_DecryptInit(session, gcmMechanism(pkcs11, nonce, context), key)
  return module.C_DecryptAsync(session, bytes.subarray(NONCE_BYTES), Buffer.alloc(OUTPUT_BYTES))
}

function gcmMechanism({ CKM_AES_GCM, CK_PARAMS_AES_GCM }: Pkcs11, iv: Buffer, context: KeyContext) {
  const parameter = {
    type: CK_PARAMS_AES_GCM,
    iv,
    aad: encodeKeyContext(context),
    ivBits: 8 * iv.length,
    tagBits: 8 * TAG_BYTES,
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
    if (slot === undefined) {
      refuse('"tokenLabel"', `must name a token of the module, got "${options.tokenLabel}"`)
    }
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
  if (!createKey) {
    refuse('"keyLabel"', `must name a key of the token, or set createKey; got "${keyLabel}"`)
  }
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
