/** Turns the fields of a caller into a record: validates, redacts, hashes and encrypts them. */
import { createUuidV7, type Clock } from '@parapet/kit'
import type { KeyObject } from 'node:crypto'
import { PARAPET_AUDIT_LOG_INVALID_RECORD } from '../errors.ts'
import { checkData, type ResolvedAction } from './actions.ts'
import { encodeText, toJson, type Json, type Visit } from './canonical-json.ts'
import { diff, type Change } from './diff.ts'
import type { AuditFields, InternalFields, Markable } from './fields.ts'
import type { AuditResult, Draft, LeafText } from './leaf.ts'
import {
  formatHashed,
  HashedValue,
  isSecretName,
  keyedHash,
  PersonalValue,
  REDACTED,
  withoutUrlSecrets,
  type FieldRule,
} from './marks.ts'
import { sealedHash, type Attachments, type SubjectKeys } from './personal-data.ts'
import { readPlain, readSeverity, readText, requireKnownMembers, type MARKABLE } from './texts.ts'

/** What {@link Recorder} needs. */
export interface RecorderSettings {
  readonly clock: Clock
  /** Rules by path: `ip`, `data.email`, `changes.email`. */
  readonly rules: ReadonlyMap<string, FieldRule>
  readonly hashKey: KeyObject | undefined
  readonly subjects: SubjectKeys | undefined
  /** Whose data a record without a principal is. @default nobody's */
  readonly subjectOf?: ((fields: AuditFields) => string | undefined) | undefined
}

/** A record without its number, and its attachments. */
export interface Prepared {
  readonly draft: Draft
  readonly attachments: Attachments | null
}

/** A personal value to be encrypted. */
interface Pending {
  readonly target: { $pii: string; sealed: string; readonly subject: string }
  readonly path: string
  readonly mark: PersonalValue
}

/** Prepares records; synchronously if there are no personal values. */
export class Recorder {
  readonly #settings: RecorderSettings
  readonly #nextId: () => string

  constructor(settings: RecorderSettings) {
    this.#settings = settings
    this.#nextId = createUuidV7({ now: settings.clock.now })
  }

  /** @throws PARAPET_AUDIT_LOG_INVALID_RECORD a field is invalid, or a mark needs an option that is not set. */
  prepare(
    action: ResolvedAction,
    fields: AuditFields,
    internal: InternalFields = {},
  ): Prepared | Promise<Prepared> {
    const pending: Pending[] = []
    const draft = this.#readDraft(action, fields, internal, pending)
    return pending.length === 0 ? { draft, attachments: null } : this.#protect(draft, pending)
  }

  /**
   * The text of a member as records have it, so that a search finds it, and does not write into the log
   * what records must not.
   */
  protect(name: (typeof MARKABLE)[number], text: string): string {
    const rule = this.#settings.rules.get(name)
    if (rule === undefined || /^(?:hmac|pii):/.test(text)) return text
    if (rule === 'drop') return DROPPED
    // Only the principal is the subject of its own value.
    if (rule !== 'hmac' && name === 'principal') {
      return `pii:${this.#settings.subjects!.pseudonymOf(text)}`
    }
    return rule === 'pii-or-clear' ? text : this.#hash(text)
  }

  /** A Proxy or a getter of the caller may throw anything. */
  #readDraft(
    action: ResolvedAction,
    fields: AuditFields,
    internal: InternalFields,
    pending: Pending[],
  ): Draft {
    try {
      return this.#draft(action, fields, internal, pending)
    } catch (error) {
      if (error instanceof PARAPET_AUDIT_LOG_INVALID_RECORD) throw error
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a field throws when it is read')
    }
  }

  #draft(
    action: ResolvedAction,
    fields: AuditFields,
    internal: InternalFields,
    pending: Pending[],
  ): Draft {
    requireKnownMembers(fields)
    const principal = readText('principal', fields.principal)
    const subject = principal ?? this.#settings.subjectOf?.(fields)
    const visit: Visit = (name, path, value) => this.#visit(name, path, value, subject, pending)
    const hasRules = this.#settings.rules.size > 0
    const text = (name: (typeof MARKABLE)[number], given: unknown): LeafText | undefined => {
      const value = readText(name, given)
      if (value === undefined || (typeof value === 'string' && !hasRules)) return value
      // A marked value is always replaced, a text only by a rule.
      const visited = (visit(name, name, value) ?? value) as LeafText
      return visited === DROPPED ? undefined : visited
    }
    const json = (name: string, value: unknown): Json | undefined => {
      const converted = visit('', name, value) ?? toJson(value, visit, name)
      return converted === DROPPED ? undefined : converted
    }
    const data = checkData(action, fields.data)
    // In canonical order; see `Draft`.
    return {
      action: action.name,
      actor: text('actor', fields.actor),
      attemptId: internal.attemptId,
      blob: undefined,
      changes: fields.changes === undefined ? undefined : this.#changes(fields.changes, visit),
      data: data === undefined ? undefined : json('data', data),
      errorCode: readPlain('errorCode', fields.errorCode),
      id: internal.id ?? this.#nextId(),
      ip: text('ip', fields.ip),
      phase: internal.phase,
      principal: text('principal', principal),
      requestId: readPlain('requestId', fields.requestId),
      resource: readPlain('resource', fields.resource) ?? action.resource,
      resourceId: text('resourceId', fields.resourceId),
      result: resultOf(fields.result),
      route: readPlain('route', fields.route),
      seq: undefined,
      session: text('session', fields.session),
      severity: readSeverity(fields.severity),
      status: internal.status,
      tenant: text('tenant', fields.tenant),
      time: internal.time ?? this.#settings.clock.now(),
      userAgent: text('userAgent', fields.userAgent),
      v: 1,
      writer: '',
    }
  }

  #changes(changes: NonNullable<AuditFields['changes']>, visit: Visit): Json {
    const list = Array.isArray(changes) ? (changes as readonly Change[]) : diffOf(changes)
    return list.map((change) => {
      if (typeof change?.path !== 'string') refuseChanges()
      const names = change.path.split('/').slice(1)
      const path = ['changes', ...names].join('.')
      const secret = names.some(isSecretName)
      const side = (value: unknown, at: string): Json => {
        if (secret) return REDACTED
        const rule = this.#settings.rules.has(path) ? path : `${path}.${at}`
        return visit('', rule, value) ?? toJson(value, visit, path)
      }
      // In canonical order.
      return {
        ...('from' in change ? { from: side(change.from, 'from') } : undefined),
        path: change.path.toWellFormed(),
        ...('to' in change ? { to: side(change.to, 'to') } : undefined),
      }
    })
  }

  #visit(
    name: string,
    path: string,
    value: unknown,
    owner: Markable | undefined,
    pending: Pending[],
  ): Json | undefined {
    if (value instanceof PersonalValue) return this.#commit(value, path, pending)
    if (value instanceof HashedValue) return this.#hash(value.value)
    const { rules } = this.#settings
    const rule = rules.size === 0 ? undefined : rules.get(path)
    if (rule === 'drop') return DROPPED
    if (rule === 'hmac') return this.#hash(value)
    if (rule !== undefined) {
      const subject = owner instanceof PersonalValue ? owner.subject : owner
      if (typeof subject === 'string') {
        return this.#commit(new PersonalValue(value, subject), path, pending)
      }
      // Without a subject the value could not be erased.
      if (rule === 'pii') return this.#hash(value)
    }
    if (path === name) return undefined
    if (isSecretName(name)) return REDACTED
    const safe = typeof value === 'string' ? withoutUrlSecrets(value) : undefined
    return safe === undefined ? undefined : encodeText(safe)
  }

  #hash(value: unknown): string {
    const { hashKey } = this.#settings
    if (hashKey === undefined) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD('a keyed hash needs the option "hashKey"')
    }
    return formatHashed(keyedHash(hashKey, 'value', value))
  }

  #commit(mark: PersonalValue, path: string, pending: Pending[]): Json {
    const { subjects } = this.#settings
    if (typeof mark.subject !== 'string' || mark.subject === '') {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
        'the "subject" of a personal value must be a text that is not empty',
      )
    }
    if (subjects === undefined) {
      throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
        'a personal value needs the options "cipher" and "hashKey"',
      )
    }
    // In canonical order.
    const target = { $pii: '', sealed: '', subject: subjects.pseudonymOf(mark.subject) }
    pending.push({ target, path: `${path}#${pending.length}`, mark })
    return target
  }

  async #protect(draft: Draft, pending: readonly Pending[]): Promise<Prepared> {
    const subjects = this.#settings.subjects!
    const kept = await Promise.all(
      pending.map(async ({ target, path, mark }) => {
        const sealed = await subjects.seal(mark.subject, draft.id, path, toJson(mark.value))
        target.$pii = sealed.commitment
        target.sealed = sealedHash(sealed.value, sealed.key)
        return sealed
      }),
    )
    const keys = new Map(kept.map(({ key }) => [key.id, key]))
    const attachments: Attachments = {
      keys: [...keys.values()],
      values: kept.map(({ value }) => value),
    }
    return { draft, attachments }
  }
}

/** Replaces a dropped member or side of a change; a dropped top-level member is left out. */
const DROPPED = '[dropped]'

function resultOf(result: AuditResult = 'success'): AuditResult {
  if (result === 'success' || result === 'failure' || result === 'unknown') return result
  throw new PARAPET_AUDIT_LOG_INVALID_RECORD('"result" must be success, failure or unknown')
}

/** Of what was created there is no state before, and of what was deleted none after. */
function diffOf(changes: unknown): Change[] {
  if (typeof changes !== 'object' || changes === null) refuseChanges()
  const { before, after, ...others } = changes as Readonly<Record<string, unknown>>
  if (!('before' in changes || 'after' in changes) || Object.keys(others).length > 0) {
    refuseChanges()
  }
  return diff(before, after)
}

function refuseChanges(): never {
  throw new PARAPET_AUDIT_LOG_INVALID_RECORD(
    '"changes" must be { before, after }, one of the two, or an array of { path, from?, to? }',
  )
}
