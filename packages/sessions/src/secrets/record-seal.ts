/**
 * Authenticates what is stored. Write access to the store or to the table would otherwise give any
 * session or API key another user, other roles or other methods.
 *
 * The tag is HMAC-SHA-256, cut to 128 bits, over the kind, the id and the content. The id is part of it, so
 * that the record of one session is invalid under the id of another. An older record of the same id is valid.
 *
 * @see docs/spec/record-seal.md; RFC 2104, section 5
 */
import { createHmac } from 'node:crypto'
import { secretsEqual } from '@parapet/kit'
import { deriveKey } from './derive-key.ts'

/** What is stored: a session, an API key, a login that waits for its second step, a link, an account, an identity. */
type RecordKind = 'session' | 'api-key' | 'login' | 'account-token' | 'account' | 'identity'

/** `unsealed`: there is no tag. `forged`: none of the secrets gives the tag. */
type SealFault = 'unsealed' | 'forged'

/** See {@link createRecordSeal}. */
export interface RecordSeal {
  /** The tag of a content, by the first secret. */
  tagOf(kind: RecordKind, id: string, body: string): string
  /**
   * Checks a tag. `current`: the first secret gives it. `former`: seal it again, because another secret
   * gives it or an older version stored it. `null`: it is refused, and reported.
   */
  accept(
    kind: RecordKind,
    id: string,
    body: string,
    tag: string | undefined,
  ): 'current' | 'former' | null
  /** Adds the tag to the JSON text of an object as its last member, which older versions ignore. */
  seal(kind: RecordKind, id: string, json: string): string
  /** The JSON text that {@link RecordSeal.seal} got; `null`: it is refused, and reported. */
  open(kind: RecordKind, id: string, text: string): string | null
}

/** What {@link createRecordSeal} needs. */
export interface RecordSealSettings {
  /** The first seals, all of them check. */
  readonly secrets: readonly string[]
  /** Until when records without a tag are accepted, in milliseconds since the Unix epoch; 0: never. */
  readonly acceptUnsealedUntil: number
  readonly now: () => number
  /** Called for each record that is refused. */
  readonly onRefused: (kind: RecordKind, id: string, fault: SealFault) => void
}

const TAG_CHARACTERS = 22
const SEALED = new RegExp(`,"m":"([\\w-]{${TAG_CHARACTERS}})"\\}$`)

/** Creates the seal of one fleet. */
export function createRecordSeal(settings: RecordSealSettings): RecordSeal {
  const { secrets, acceptUnsealedUntil, now, onRefused } = settings
  const keys = secrets.map((secret) => deriveKey(secret, 'record seal'))

  const seal: RecordSeal = {
    tagOf: (kind, id, body) => tagBy(keys[0]!, kind, id, body),
    accept(kind, id, body, tag) {
      if (tag === undefined && now() < acceptUnsealedUntil) return 'former'
      const index = keys.findIndex((key) => secretsEqual(tag, tagBy(key, kind, id, body)))
      if (index === 0) return 'current'
      if (index > 0) return 'former'
      onRefused(kind, id, tag === undefined ? 'unsealed' : 'forged')
      return null
    },
    seal: (kind, id, json) => `${json.slice(0, -1)},"m":"${seal.tagOf(kind, id, json)}"}`,
    open(kind, id, text) {
      const found = SEALED.exec(text)
      const json = found === null ? text : `${text.slice(0, found.index)}}`
      return seal.accept(kind, id, json, found?.[1]) === null ? null : json
    },
  }
  return seal
}

function tagBy(key: Buffer, kind: RecordKind, id: string, body: string): string {
  const tag = createHmac('sha256', key).update(`${kind} ${id} ${body}`).digest('base64url')
  return tag.slice(0, TAG_CHARACTERS)
}
