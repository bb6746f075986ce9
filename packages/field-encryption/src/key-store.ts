/** The port of the key table: one record for each tenant and each subject, wrapped, never in clear. */

/** The keys of one scope, as they are kept. */
export interface KeyRecord {
  readonly tenant: string
  /** Empty: the tenant's own keys. */
  readonly subject: string
  /** Tink's encrypted keyset; `null` once forgotten. */
  readonly keyset: string | null
  /** The tenant's key that wrapped a subject's keyset; 0 where the provider did. */
  readonly wrappedBy: number
  /** 1 at first, one more with each change. */
  readonly version: number
  /** When the primary key became primary, in milliseconds since the Unix epoch. */
  readonly rotatedAt: number
  readonly forgottenAt: number | null
  /** Why the keys may not be destroyed. */
  readonly legalHold: string | null
}

/** Keeps key records. Every write is conditional, so that no two instances undo each other. */
export interface KeyStore {
  /** The records there are, of one tenant, in any order. @param subjects at most 10 000; `''` is the tenant's own */
  get(tenant: string, subjects: readonly string[]): Promise<KeyRecord[]>
  /** Adds a record where there is none. @returns whether it did. */
  insert(record: KeyRecord): Promise<boolean>
  /** Replaces the record if it still has version `record.version - 1`. @returns whether it did. */
  update(record: KeyRecord): Promise<boolean>
  /** Subjects, in order, that are not forgotten and whose keyset another key than `keyId` wrapped. */
  notWrappedBy(tenant: string, keyId: number, limit: number): Promise<KeyRecord[]>
  /** How many subjects' keysets a key of the tenant has wrapped. */
  countWrappedBy(tenant: string, keyId: number): Promise<number>
  /** Adds to the count of values a key has sealed. @returns the new count. */
  addUses(tenant: string, subject: string, keyId: number, amount: number): Promise<number>
}

/**
 * Makes a key store in the memory of this process, for tests and trials: when the process ends, what
 * was encrypted is lost.
 */
export function createMemoryKeyStore(): KeyStore {
  const records = new Map<string, KeyRecord>()
  const uses = new Map<string, number>()
  const subjectsOf = (tenant: string) =>
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
      subjectsOf(tenant)
        .filter(({ wrappedBy }) => wrappedBy !== keyId)
        .slice(0, limit),
    countWrappedBy: async (tenant, keyId) =>
      subjectsOf(tenant).filter(({ wrappedBy }) => wrappedBy === keyId).length,
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
