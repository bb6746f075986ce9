/** The schemas that all resources share. Objects are closed: an unknown member is refused. */
import { Uuid } from '@parapet/input-guard'
import { problemMediaType } from '@parapet/kit'
import {
  Type,
  type ObjectOptions,
  type Static,
  type TProperties,
  type TSchema,
} from '@sinclair/typebox'

const closed = { additionalProperties: false } as const

/** An object with these members and no others. */
export function closedObject<P extends TProperties>(members: P, options: ObjectOptions = {}) {
  return Type.Object(members, { ...options, ...closed })
}

/** At least one member of a resource. */
export function changesOf<P extends TProperties>(schema: ReturnType<typeof closedObject<P>>) {
  return Type.Partial(schema, { ...closed, minProperties: 1 })
}

/**
 * One line of text in any script. Refuses control characters and lone surrogates, which databases
 * and logs do not handle, characters that reorder the text beside it on a page, and white space at both ends.
 */
export function singleLineText(max: number, description: string) {
  const character = String.raw`[^\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]`
  const visible = String.raw`[^\s\p{Cc}\p{Cs}\p{Bidi_Control}]`
  const pattern = `^${visible}(?:${character}*${visible})?$`
  return Type.String({ minLength: 1, maxLength: max, pattern, description })
}

/** Text of several lines in any script. Refuses NUL, which PostgreSQL cannot store. */
export function multiLineText(max: number, description: string) {
  return Type.String({ maxLength: max, pattern: String.raw`^[^\u0000\p{Cs}]*$`, description })
}

/** The members that the server adds to every resource. */
export const storedMembers = {
  id: Type.String({ format: 'uuid', description: 'UUIDv7: ids sort by the time of creation' }),
  version: Type.Integer({ minimum: 1, description: 'Grows by one with each change; the ETag' }),
  createdAt: Type.String({ format: 'date-time' }),
  updatedAt: Type.String({ format: 'date-time' }),
}

/** The path parameters of one resource. */
export const IdParams = closedObject({ id: Uuid() })

/** Returns the id in the path of a validated request, as the database writes it: in lower case. */
export function idOf({ params }: { readonly params: unknown }): string {
  return (params as Static<typeof IdParams>).id
}

/** The query string of a list. */
export const PageQuery = closedObject({
  limit: Type.Integer({ minimum: 1, maximum: 100, default: 20, description: 'Rows per page' }),
  cursor: Type.Optional(
    Type.String({ maxLength: 64, description: 'The nextCursor of the previous page, unchanged' }),
  ),
})

/** Makes a change conditional. The object is open, because a request has other headers too. */
export const ChangeHeaders = Type.Object({
  'if-match': Type.Optional(
    Type.String({
      maxLength: 200,
      description: 'Respond with 412 unless the current ETag is one of these',
    }),
  ),
})

/** A reference to a schema that was added with `app.addSchema`, with the type of that schema. */
export function refTo<T extends TSchema>(schema: T) {
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#` })
}

/** The body of every error response. @see RFC 9457 */
export const Problem = Type.Object(
  {
    type: Type.Literal('about:blank'),
    title: Type.String({ description: 'The name of the status' }),
    status: Type.Integer({ minimum: 400, maximum: 599 }),
    detail: Type.Optional(Type.String({ description: 'The error as a sentence, for people' })),
    code: Type.Optional(Type.String({ description: 'The error as a stable code, for programs' })),
    requestId: Type.Optional(Type.String({ description: 'The id of the request in the log' })),
    retryAfter: Type.Optional(Type.Integer({ description: 'Seconds until the limit allows more' })),
    errors: Type.Optional(
      Type.Array(
        closedObject({
          in: Type.String({ description: 'body, querystring, params or headers' }),
          pointer: Type.String({ description: 'JSON Pointer of the invalid member' }),
          detail: Type.String(),
          code: Type.Optional(Type.String({ description: 'The kind of the fault, for programs' })),
        }),
      ),
    ),
  },
  { $id: 'Problem', ...closed },
)

/** An error response. */
export const problem = (description: string) => ({
  description,
  content: { [problemMediaType]: { schema: refTo(Problem) } },
})

/** The error responses of every route. */
export const problems = {
  '4xx': problem('The request was refused'),
  '5xx': problem('The server failed'),
}

/** The schema of a response that is no JSON. */
export function fileOf(mediaType: string, description: string) {
  return { description, content: { [mediaType]: { schema: { type: 'string' } } } }
}

/** The schema of a response without a body. */
export function emptyBody(description: string) {
  return Type.Null({ description })
}

/** A page of a list. */
export function pageOf<T extends TSchema>(schema: T) {
  return closedObject({
    items: Type.Array(refTo(schema)),
    nextCursor: Type.Optional(Type.String({ description: 'Absent on the last page' })),
  })
}
