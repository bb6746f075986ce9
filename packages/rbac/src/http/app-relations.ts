/** `app.rbac.relate`: changes of relations, checked against the policy and recorded. */
import type { SecurityEvents, SqlQueryable } from '@parapet/kit'
import { PARAPET_RBAC_INVALID_ARGUMENT, PARAPET_RBAC_UNDECLARED_RELATION } from '../errors.ts'
import type { LivePolicy } from '../live/live-policy.ts'
import type { RbacSettings } from '../options.ts'
import { isDeclaredTuple } from '../relations/relation-plan.ts'
import type { RelationChanges, RelationStore, RelationTuple } from '../tuples/relations.ts'
import { subjectKind, textOf } from '../tuples/tuples.ts'
import { eventOf, type ChangeContext } from './changes.ts'

/** Changes of relations. */
export interface RelationWrites {
  /**
   * Adds and removes relations, all or none. A removed relation is not used by any later decision, in any
   * instance.
   *
   * @param options `transaction`: the transaction that writes the resource; the change is in force once it
   *   is committed. `request`, `by` and `reason` are recorded in the event.
   * @throws PARAPET_RBAC_UNDECLARED_RELATION if the policy does not allow a relation that is added.
   * @throws PARAPET_RBAC_INVALID_ARGUMENT if an id is invalid, or the option `relations` cannot write.
   */
  relate(
    changes: RelationChanges,
    options?: { readonly transaction?: SqlQueryable } & ChangeContext,
  ): Promise<void>
}

const MAX_TUPLES = 10_000
const MAX_ID_LENGTH = 512
/** Two such ids and the names of their relation fit into a row of an index of PostgreSQL: 2704 bytes. */
const MAX_ID_BYTES = 1024
const MAX_LISTED = 100

/** Creates the changes of relations. */
export function createRelationWrites(
  live: LivePolicy,
  { relations }: RbacSettings,
  securityEvents: SecurityEvents,
): RelationWrites {
  return {
    async relate(changes, { transaction, ...context } = {}) {
      const { add = [], remove = [], ...others } = recordOf(changes) as RelationChanges
      const store = requireStore(relations)
      const [unknown] = Object.keys(others)
      if (unknown !== undefined) fail('"changes"', `must have "add" and "remove", got "${unknown}"`)
      requireList(add, 'add')
      requireList(remove, 'remove')
      if (add.length + remove.length > MAX_TUPLES) {
        fail(
          '"changes"',
          `must have at most ${MAX_TUPLES} tuples, got ${add.length + remove.length}`,
        )
      }
      for (const tuple of [...add, ...remove]) requireTuple(tuple)
      for (const tuple of add) requireDeclared(live, tuple)
      const { reason, fields, request } = eventOf(context)
      await store.write({ add, remove }, transaction)
      const details = {
        added: add.slice(0, MAX_LISTED).map(textOf),
        removed: remove.slice(0, MAX_LISTED).map(textOf),
        count: add.length + remove.length,
        // A transaction can still be rolled back; the event says so.
        ...(transaction === undefined ? undefined : { isCommitted: false }),
        ...reason,
      }
      securityEvents.emit('rbac.relations_changed', { ...fields, details }, request)
    },
  }
}

function requireStore(relations: RbacSettings['relations']): RelationStore {
  if (relations !== undefined && 'write' in relations) return relations
  return fail(
    'The option "relations"',
    'must be a store, such as createPostgresRelations(sql), to change relations',
  )
}

/** TypeScript accepts `everyone: isPublic` beside an id, and tuples may come from JSON. */
function requireTuple(tuple: unknown): void {
  const { object, relation, subject } = recordOf(tuple)
  const { type, id } = recordOf(object)
  const named = recordOf(subject)
  const texts = [type, relation, named['type'], named['relation'] ?? 'none']
  if (!texts.every((text) => typeof text === 'string')) {
    fail('A relation', 'must have an "object", a "relation" and a "subject", with texts as types')
  }
  const { everyone } = named
  if (everyone !== undefined && (everyone !== true || named['id'] !== undefined)) {
    fail('"everyone" of a subject', 'must be true and without an "id", or absent')
  }
  for (const each of everyone === true ? [id] : [id, named['id']]) {
    const isValid =
      typeof each === 'string' &&
      each.length > 0 &&
      each.length <= MAX_ID_LENGTH &&
      Buffer.byteLength(each) <= MAX_ID_BYTES &&
      each.isWellFormed() &&
      !each.includes('\0')
    if (isValid) continue
    const limits = `1 to ${MAX_ID_LENGTH} characters and at most ${MAX_ID_BYTES} bytes`
    fail('An id of a relation', `must be a well-formed text of ${limits}`)
  }
}

function recordOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
}

function requireList(value: unknown, name: string): void {
  if (!Array.isArray(value)) fail(`"${name}"`, 'must be a list of relations')
}

function fail(what: string, problem: string): never {
  throw new PARAPET_RBAC_INVALID_ARGUMENT(what, problem)
}

function requireDeclared({ engine }: LivePolicy, tuple: RelationTuple): void {
  const declared = engine.model.policy.relations ?? {}
  const { object, relation } = tuple
  const question = { type: object.type, relation, subject: subjectKind(tuple) }
  if (!isDeclaredTuple(declared, question)) {
    throw new PARAPET_RBAC_UNDECLARED_RELATION(textOf(tuple))
  }
}
