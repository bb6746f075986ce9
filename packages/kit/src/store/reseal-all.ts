/** Seals all records of a storage by its newest key, so that a former key can be removed. */

/** The result of {@link resealAll}. */
export interface Resealed {
  /** How many accounts have a record. */
  readonly accounts: number
  /** How many were sealed again, because another key had sealed them. */
  readonly resealed: number
  /** How many none of the keys opens. */
  readonly unreadable: number
}

/** What {@link resealAll} needs. */
export interface ResealSettings {
  /** Up to `limit` ids behind `after` in the order of the storage; `null`: from the first one. */
  readonly list: (after: string | null, limit: number) => Promise<readonly string[]>
  /** Seals one record. @returns `false`: the newest key has sealed it already. */
  readonly reseal: (id: string) => Promise<boolean>
  /** Whether an error of `reseal` says that none of the keys opens the record. Others end the loop. */
  readonly isUnreadable: (error: unknown) => boolean
}

const PAGE = 100

/** Seals all records of a storage, one after the other. */
export async function resealAll({ list, reseal, isUnreadable }: ResealSettings): Promise<Resealed> {
  let [accounts, resealed, unreadable] = [0, 0, 0]
  let ids: readonly string[] = []
  do {
    ids = await list(ids.at(-1) ?? null, PAGE)
    for (const id of ids) {
      try {
        if (await reseal(id)) resealed++
      } catch (error) {
        if (!isUnreadable(error)) throw error
        unreadable++
      }
    }
    accounts += ids.length
  } while (ids.length === PAGE)
  return { accounts, resealed, unreadable }
}
