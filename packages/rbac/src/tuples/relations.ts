/** The port for relations: who is related to what. */
import { option, readOptions, type OptionReader, type SqlQueryable } from '@parapet/kit'
import { PARAPET_RBAC_INVALID_OPTION, PARAPET_RBAC_TOO_MANY_RELATIONS } from '../errors.ts'
import type { RelationPlan } from '../relations/relation-plan.ts'

/** An object, by its type and id. */
export interface RelationObject {
  readonly type: string
  readonly id: string
}

/**
 * Who has a relation: a principal (`{ type: 'user', id }`), everyone who has a relation to an object
 * (`{ type: 'group', id, relation: 'member' }`), every principal (`{ type: 'user', everyone: true }`) or
 * an object (`{ type: 'folder', id }`).
 */
export type RelationSubject =
  | (RelationObject & { readonly relation?: string })
  | { readonly type: 'user'; readonly everyone: true }

/** One fact: the subject has the relation to the object. */
export interface RelationTuple {
  readonly object: RelationObject
  readonly relation: string
  readonly subject: RelationSubject
}

/** Tuples to store and to delete, all or none. Either may repeat what is there, or is not there. */
export interface RelationChanges {
  readonly add?: readonly RelationTuple[]
  readonly remove?: readonly RelationTuple[]
}

/** One question: does the principal have the relation of the plan to the object? */
export interface RelationQuestion {
  readonly plan: RelationPlan
  readonly objectId: string
}

/** The ids of objects to which a principal is related, in the order of their UTF-8 bytes. */
export interface RelatedPage {
  readonly ids: readonly string[]
  /** Whether there are more. */
  readonly hasMore: boolean
}

/** Answers questions about relations. */
export interface Relations {
  /**
   * Answers questions about one principal, in their order, from one state of the tuples that is not older
   * than the call; `null`: unknown, because both walks, from the object and from the principal, exceed a
   * limit. Then `list` fails.
   *
   * @throws PARAPET_RBAC_TOO_MANY_RELATIONS if more than ten questions together visit more than ten times
   *   `maxVisited`.
   */
  check(
    principalId: string,
    questions: readonly RelationQuestion[],
  ): Promise<readonly (boolean | null)[]>
  /**
   * Lists objects to which a principal is related.
   *
   * @throws PARAPET_RBAC_TOO_MANY_RELATIONS if more has to be visited than the limit allows.
   */
  list(
    principalId: string,
    plan: RelationPlan,
    page: { readonly after?: string | undefined; readonly limit: number },
  ): Promise<RelatedPage>
  /**
   * A sub-select of the ids, for filters in the same database; it fails where `list` does. Absent: there is
   * none.
   */
  readonly subselect?: (principalId: string, plan: RelationPlan) => SubselectSource
}

/** The text around the values of a statement, as in a tagged template. */
export interface SubselectSource {
  readonly strings: readonly string[]
  readonly values: readonly unknown[]
}

/** Relations that this package stores. */
export interface RelationStore extends Relations {
  /**
   * Stores and deletes tuples. `app.rbac.relate` checks them against the policy before.
   *
   * @param transaction the transaction that writes the resource; then both are visible at once.
   */
  write(changes: RelationChanges, transaction?: SqlQueryable): Promise<void>
  /** Returns the tuples of an object, sorted, at most `limit`. */
  read(
    object: RelationObject,
    page?: { readonly limit?: number },
  ): Promise<readonly RelationTuple[]>
  /** Returns a token that differs after every change. */
  revision(): Promise<string>
}

/** How far an answer may go before it is unknown. */
export interface RelationLimits {
  /**
   * The number of objects that one walk may visit, 1 to 1 000 000: the one limit of checks, lists and filters. The
   * walks of a page, whose rows are decided one by one, may together visit ten times as many, at least 10 000.
   *
   * @default 10_000
   */
  readonly maxVisited?: number
}

/** More questions at once are those of a page, whose walks share one budget: that of so many walks. */
export const PAGE_WALKS = 10
/** The least budget of a page, so that short walks of many rows fit. */
export const LEAST_BUDGET = 10_000

/** The objects that the walks of so many questions may visit together. */
export function budgetOf(questions: number, maxVisited: number): number {
  return questions > PAGE_WALKS ? Math.max(PAGE_WALKS * maxVisited, LEAST_BUDGET) : Infinity
}

/** The error of a check whose walks together exceed their budget. */
export function pageTooLong(questions: readonly RelationQuestion[], maxVisited: number): Error {
  const { length } = questions
  const limit = `${budgetOf(length, maxVisited)} objects for one page of ${length} questions`
  return new PARAPET_RBAC_TOO_MANY_RELATIONS(questions[0]!.plan.key, limit)
}

/** The largest {@link RelationLimits.maxVisited}, and so the length of the longest list. */
export const MAX_VISITED = 1_000_000

/** Reads the limits of a store, with its other settings. @throws PARAPET_RBAC_INVALID_OPTION */
export function readLimits<T extends Readonly<Record<string, OptionReader<unknown>>>>(
  name: string,
  limits: RelationLimits,
  others: T,
) {
  const maxVisited = option.integer({ min: 1, max: MAX_VISITED, default: 10_000 })
  return readOptions(name, limits, { maxVisited, ...others }, PARAPET_RBAC_INVALID_OPTION)
}
