/** Revocations as texts: members of the set in the store, and messages on the channel. */

/** Something that is revoked before its lifetime ends. */
export type Revocation =
  | { readonly kind: 'token' | 'session'; readonly id: string }
  | { readonly kind: 'user'; readonly id: string; readonly epoch: number }
  | { readonly kind: 'fleet'; readonly epoch: number }

const FLEET = /^a (\d{1,16})$/
const USER = /^u (\d{1,16}) (.+)$/s
const ONE = /^([ts]) ([\w-]{22})$/

/** The text of a revocation. */
export function formatRevocation(revocation: Revocation): string {
  if (revocation.kind === 'fleet') return `a ${revocation.epoch}`
  if (revocation.kind === 'user') return `u ${revocation.epoch} ${revocation.id}`
  return `${revocation.kind === 'token' ? 't' : 's'} ${revocation.id}`
}

/** Reads the text of a revocation; `null` if it has another form. */
export function parseRevocation(text: string): Revocation | null {
  const fleet = FLEET.exec(text)?.[1]
  if (fleet !== undefined) return { kind: 'fleet', epoch: Number(fleet) }
  const [, epoch, userId] = USER.exec(text) ?? []
  if (userId !== undefined) return { kind: 'user', id: userId, epoch: Number(epoch) }
  const [, mark, id] = ONE.exec(text) ?? []
  if (id === undefined) return null
  return { kind: mark === 't' ? 'token' : 'session', id }
}
