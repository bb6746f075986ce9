/** The port of the key store: one record of wrapped keys for each tenant and each subject. */

/** The stored keys of one tenant or subject. */
export interface KeyRecord {
  readonly tenant: string
  /** `''`: the tenant's own keys. */
  readonly subject: string
  /** Tink's JSON for encrypted keysets; `null` once the subject is forgotten. */
  readonly keyset: string | null
  /** Id of the tenant's key that wrapped a subject's keyset; 0 if the provider wrapped it. */
  readonly wrappedBy: number
  /** 1 for a new record; each change adds one. */
  readonly version: number
  /** When the primary key became primary, in milliseconds since the Unix epoch. */
  readonly rotatedAt: number
  /** When the keys were destroyed, in milliseconds since the Unix epoch. */
  readonly forgottenAt: number | null
  /** The reason of a legal hold, which prevents that the keys are destroyed; `null`: no hold. */
  readonly legalHold: string | null
}

/** Stores key records. Every write is conditional, so that instances do not overwrite each other. */
export interface KeyStore {
  /** Returns the existing records, in any order. @param subjects at most 10 000; `''` is the tenant's own */
  get(tenant: string, subjects: readonly string[]): Promise<KeyRecord[]>
  /** Adds a record. @returns `false` if one exists already. */
  insert(record: KeyRecord): Promise<boolean>
  /** Replaces the record of version `record.version - 1`. @returns `false` if its version is another. */
  update(record: KeyRecord): Promise<boolean>
  /** Records of subjects, in order, that are not forgotten and wrapped by another key than `keyId`. */
  notWrappedBy(tenant: string, keyId: number, limit: number): Promise<KeyRecord[]>
  /** Counts the subjects whose keyset is wrapped by this key of the tenant. */
  countWrappedBy(tenant: string, keyId: number): Promise<number>
  /**
   * Any one of the tenants' own records, the same each time; `undefined` if there is none. With it
   * `health` checks that the provider unwraps what is stored.
   *
   * @default the record of the tenant `''`
   */
  first?(): Promise<KeyRecord | undefined>
  /** Adds to the number of values that a key has sealed. @returns the new number. */
  addUses(tenant: string, subject: string, keyId: number, amount: number): Promise<number>
}

/**
 * Creates a key store in the memory of this process, for tests. When the process ends, the keys and
 * all data encrypted with them are lost.
 */
export function createMemoryKeyStore(): KeyStore {
  const records = new Map<string, KeyRecord>()
  const uses = new Map<string, number>()
  const listSubjects = (tenant: string) =>
    [...records.values()].filter(
      (record) => record.tenant === tenant && record.subject !== '' && record.keyset !== null,
    )
  return {
    get: async (tenant, subjects) =>
      subjects.flatMap((subject) => records.get(nameOf(tenant, subject)) ?? []),
    async insert(record) {
      const name = nameOf(record.tenant, record.subject)
      if (records.has(name)) return false
      records.set(name, record)
      return true
    },
    async update(record) {
      const name = nameOf(record.tenant, record.subject)
      if (records.get(name)?.version !== record.version - 1) return false
      records.set(name, record)
      return true
    },
    notWrappedBy: async (tenant, keyId, limit) =>
      listSubjects(tenant)
        .filter(({ wrappedBy }) => wrappedBy !== keyId)
        .slice(0, limit),
    countWrappedBy: async (tenant, keyId) =>
      listSubjects(tenant).filter(({ wrappedBy }) => wrappedBy === keyId).length,
    first: async () => [...records.values()].find(({ subject }) => subject === ''),
    async addUses(tenant, subject, keyId, amount) {
      const name = `${nameOf(tenant, subject)}:${keyId}`
      const total = (uses.get(name) ?? 0) + amount
      uses.set(name, total)
      return total
    },
  }
}

function nameOf(tenant: string, subject: string): string {
  return JSON.stringify([tenant, subject])
}
