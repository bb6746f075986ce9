/** The schemas that every resource shares. Objects are closed: an unknown member is refused. */
import { problemMediaType } from '@parapet/kit'
import {
  Type,
  type ObjectOptions,
  type Static,
  type TProperties,
  type TSchema,
} from '@sinclair/typebox'

const closed = { additionalProperties: false } as const

/** An object that has these members and no others. */
export function closedObject<P extends TProperties>(members: P, options: ObjectOptions = {}) {
  return Type.Object(members, { ...options, ...closed })
}

/** Some of a resource's members, at least one. */
export function changesOf<P extends TProperties>(schema: ReturnType<typeof closedObject<P>>) {
  return Type.Partial(schema, { ...closed, minProperties: 1 })
}

/**
 * One line of text in any script. Without control characters and halves of surrogate pairs, which
 * databases and logs stumble over, and without white space at its ends.
 */
export function line(max: number, description: string) {
  const character = String.raw`[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}]`
  const visible = String.raw`[^\s\p{Cc}\p{Cs}]`
  const pattern = `^${visible}(?:${character}*${visible})?$`
  return Type.String({ minLength: 1, maxLength: max, pattern, description })
}

/** Text of several lines in any script; PostgreSQL stores no NUL. */
export function prose(max: number, description: string) {
  return Type.String({ maxLength: max, pattern: String.raw`^[^\u0000\p{Cs}]*$`, description })
}

/** What the server adds to every resource. */
export const storedMembers = {
  id: Type.String({ format: 'uuid', description: 'UUIDv7: sorts by when it was made' }),
  version: Type.Integer({ minimum: 1, description: 'One more with each change; the ETag' }),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
}

/** The path of one resource. */
export const IdParams = closedObject({ id: Type.String({ format: 'uuid' }) })

/** How a row's id is written in the database, whatever the case of the path. */
export function idOf({ params }: { readonly params: unknown }): string {
  return (params as Static<typeof IdParams>).id.toLowerCase()
}

/** Which page of a list. */
export const PageQuery = closedObject({
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 20, description: 'Rows in a page' }),
  cursor: Type.Optional(
    Type.String({ maxLength: 64, description: 'The nextCursor of the page before; opaque' }),
  ),
})

/** Makes a change conditional. Headers that are not named here are nobody's business. */
export const ChangeHeaders = Type.Object({
  'if-match': Type.Optional(
    Type.String({ maxLength: 200, description: 'Refuse with 412 unless the ETag is one of these' }),
  ),
})

/** A reference to a schema that `app.addSchema` knows, typed as what it stands for. */
export function refTo<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}

/** The problem details of every refusal. @see RFC 9457 */
export const Problem = Type.Object(
  {
    type: Type.Literal('about:blank'),
    title: Type.String({ description: 'The status phrase' }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.Optional(Type.String({ description: 'What went wrong, for a person' })),
    code: Type.Optional(Type.String({ description: 'What went wrong, for a program' })),
    requestId: Type.Optional(Type.String({ description: 'Names the request in the log' })),
    errors: Type.Optional(
      Type.Array(
        closedObject({
          in: Type.String({ description: 'body, querystring, params or headers' }),
          pointer: Type.String({ description: 'JSON Pointer of the member' }),
          detail: Type.String(),
        }),
      ),
    ),
  },
  { $id: 'Problem', ...closed },
)

const problem = (description: string) => ({
  description,
  content: { [problemMediaType]: { schema: refTo(Problem) } },
})

/** The refusals of every route. */
export const problems = {
  '4xx': problem('The request was refused'),
  '5xx': problem('The service failed'),
}

/** The reply of a route that has nothing to say. */
export const nothing = Type.Null({ description: 'Done' })

/** A page of a list. */
export function pageOf<T extends TSchema>(schema: T) {
  return closedObject({
    items: Type.Array(refTo(schema)),
    nextCursor: Type.Optional(Type.String({ description: 'Absent on the last page' })),
  })
}
