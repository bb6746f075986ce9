/** What a table needs of a keyset, made once for each keyset that is loaded. */
import { createAead, type Aead, type UsageMeter } from './aead.ts'
import { createIndexer, type Indexer } from './blind-index.ts'
import type { Keyset } from './keyset.ts'

/** The keys of one scope, ready for use. */
export interface KeyRing {
  readonly aead: Aead
  readonly indexer: Indexer
}

/** Whose keys: a tenant's own, or those of one subject of the tenant. */
export interface KeyScope {
  readonly tenant: string
  /** `null`: the tenant's own. */
  readonly subject: string | null
}

/** The keys of a scope; `null` where none were ever made. */
export type FoundRing = KeyRing | 'forgotten' | null

/** Hands out the keys of scopes. */
export interface KeySource {
  /**
   * The keys of each scope, in the order asked; fetched together where they are not at hand.
   *
   * @param create whether keys are made where there are none.
   * @throws PARAPET_FIELD_ENCRYPTION_KEY_UNAVAILABLE
   */
  find(scopes: readonly KeyScope[], create: boolean): Promise<readonly FoundRing[]>
  /**
   * Hears of a key that is not known here: another instance may have made it a moment ago.
   *
   * @returns whether the scope's keys will be read anew; a key that stays unknown is asked for once a minute.
   */
  refresh(scope: KeyScope, keyId: number): boolean
}

/** Makes a {@link KeyRing}. */
export function createKeyRing(keyset: Keyset, usage?: UsageMeter): KeyRing {
  return { aead: createAead(keyset, usage), indexer: createIndexer(keyset) }
}
