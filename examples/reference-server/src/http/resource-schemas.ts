/** The schemas of a resource's five routes, written once: what comes in, what goes out, its words. */
import type { TObject } from '@sinclair/typebox'
import { ChangeHeaders, IdParams, nothing, PageQuery, pageOf, problems, refTo } from './schemas.ts'

/** What {@link describeResource} takes. */
interface ResourceShape<Stored extends TObject, New extends TObject, Changes extends TObject> {
  /** With its article: `a user`. */
  readonly one: string
  /** `users`; also the tag. */
  readonly many: string
  /** In operation ids: `User` and `Users`. */
  readonly names: readonly [one: string, many: string]
  /** The resource as it is returned; it has an `$id`. */
  readonly stored: Stored
  /** What makes one. */
  readonly created: New
  /** What changes one. */
  readonly changes: Changes
}

/** Makes the `schema` of each route. */
export function describeResource<S extends TObject, N extends TObject, C extends TObject>({
  one,
  many,
  names: [Name, Names],
  stored,
  created,
  changes,
}: ResourceShape<S, N, C>) {
  const tags = [many]
  return {
    create: {
      operationId: `create${Name}`,
      summary: `Make ${one}`,
      tags,
      body: created,
      response: { 201: refTo(stored), ...problems },
    },
    list: {
      operationId: `list${Names}`,
      summary: `List ${many}, oldest first`,
      tags,
      querystring: PageQuery,
      response: { 200: pageOf(stored), ...problems },
    },
    get: {
      operationId: `get${Name}`,
      summary: `Read ${one}`,
      tags,
      params: IdParams,
      response: { 200: refTo(stored), ...problems },
    },
    change: {
      operationId: `change${Name}`,
      summary: `Change members of ${one}`,
      tags,
      params: IdParams,
      headers: ChangeHeaders,
      body: changes,
      response: { 200: refTo(stored), ...problems },
    },
    remove: {
      operationId: `delete${Name}`,
      summary: `Delete ${one}`,
      tags,
      params: IdParams,
      headers: ChangeHeaders,
      response: { 204: nothing, ...problems },
    },
  }
}
