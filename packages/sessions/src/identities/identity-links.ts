/** Which identities at providers belong to which user. */
import { createHash } from 'node:crypto'

/** A user as a provider knows them: its subject never changes its owner. */
export interface Identity {
  /** The name of the provider in the option `oidc`. */
  readonly provider: string
  /** @see OpenID Connect Core 1.0, section 2, `sub` */
  readonly subject: string
}

/** An identity that logs in as a user. */
export interface LinkedIdentity extends Identity {
  /** Milliseconds since the Unix epoch. */
  readonly linkedAt: number
}

/** What {@link IdentityLinks.add} did. `present`: the user has it already. `taken`: another user has it. */
export type AddedLink = 'added' | 'present' | 'taken' | 'full'

/** What {@link IdentityLinks.remove} did. */
export type RemovedLink = 'removed' | 'missing' | 'kept'

/** The links. Errors become 503. */
export interface IdentityLinks {
  /** The id of the user to whom an identity is linked. */
  find(identity: Identity): Promise<string | null>
  list(userId: string): Promise<readonly LinkedIdentity[]>
  /**
   * Links an identity, unless another user has it: of two users at once, one gets it. Linking again
   * changes nothing.
   *
   * @param maxLinks how many identities a user may have, also after two requests at once: the others are `full`.
   */
  add(userId: string, identity: LinkedIdentity, maxLinks: number): Promise<AddedLink>
  /**
   * Removes a link. In one transaction with the list of the others, because two removals at once would
   * each leave the other one.
   *
   * @param mayRemove called with the identities that would be left to the user. `false`: keep it.
   */
  remove(
    userId: string,
    identity: Identity,
    mayRemove: (left: readonly Identity[]) => boolean,
  ): Promise<RemovedLink>
}

const ID_LENGTH = 22

/** A short name for an identity, safe in a path: what a provider calls a subject may be neither. */
export function idOfIdentity({ provider, subject }: Identity): string {
  const text = JSON.stringify([provider, subject])
  return createHash('sha256').update(text).digest('base64url').slice(0, ID_LENGTH)
}

/** Whether two identities are the same. */
export function isSameIdentity(a: Identity, b: Identity): boolean {
  return a.provider === b.provider && a.subject === b.subject
}
