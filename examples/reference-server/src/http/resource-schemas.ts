/** Creates the schemas of the five routes that every resource has. */
import type { TObject } from '@sinclair/typebox'
import {
  ChangeHeaders,
  emptyBody,
  IdParams,
  PageQuery,
  pageOf,
  problems,
  refTo,
} from './schemas.ts'

/** Describes a resource. */
interface ResourceShape<Stored extends TObject, New extends TObject, Changes extends TObject> {
  /** With its article: `a user`. */
  readonly one: string
  /** `users`; also the OpenAPI tag. */
  readonly many: string
  /** For operation ids: `User` and `Users`. */
  readonly names: readonly [one: string, many: string]
  /** The resource as it is returned; the schema has an `$id`. */
  readonly stored: Stored
  /** The body that creates a resource. */
  readonly created: New
  /** The body that changes a resource. */
  readonly changes: Changes
}

/** Creates the `schema` of each route. The function is long because it is one table of schemas. */
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
      summary: `Create ${one}`,
      tags,
      body: created,
      response: { 201: refTo(stored), ...problems },
    },
    list: {
      operationId: `list${Names}`,
      summary: `List ${many}, the oldest first`,
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
      summary: `Change some members of ${one}`,
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
      response: { 204: emptyBody('Deleted'), ...problems },
    },
  }
}
