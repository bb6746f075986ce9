/** A keyset prepared for use, and the port through which tables and files get the keys they need. */
import { createAead, type Aead, type KeyUsage } from '../crypto/aead.ts'
import { createIndexer, type Indexer } from './indexer.ts'
import type { Keyset } from '../crypto/keyset.ts'

/** The keys of one scope, ready for use. */
export interface KeyRing {
  readonly aead: Aead
  readonly indexer: Indexer
}

/** The owner of a keyset: a tenant, or one data subject of a tenant. */
export interface KeyScope {
  readonly tenant: string
  /** `null`: the keys of the tenant itself. */
  readonly subject: string | null
}

/** The keys of a scope; `'forgotten'` if they were destroyed, `null` if they never existed. */
export type FoundRing = KeyRing | 'forgotten' | null

/** Provides the keys of scopes. */
export interface KeySource {
  /**
   * Returns the keys of each scope, in the given order. Keys that are not cached are loaded together.
   *
   * @param create whether missing keys are created.
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE
   */
  find(scopes: readonly KeyScope[], create: boolean): Promise<readonly FoundRing[]>
  /**
   * Reports a ciphertext with a key id that the scope's keyset lacks. Another instance may have just
   * created the key.
   *
   * @returns whether the next `find` reloads the scope's keys. An id that stays unknown causes one
   *   reload a minute.
   */
  refresh(scope: KeyScope, keyId: number): boolean
}

/** Creates a {@link KeyRing}. */
export function createKeyRing(keyset: Keyset, usage?: KeyUsage): KeyRing {
  return { aead: createAead(keyset, usage), indexer: createIndexer(keyset) }
}
