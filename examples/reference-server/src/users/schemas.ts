/** The schemas of a user. */
import { SafeEmail } from '@parapet/input-guard'
import type { Pack } from '@parapet/rbac'
import { Type, type Static } from '@sinclair/typebox'
import { roles, type Role } from '../access/policy.ts'
import { describeResource } from '../http/resource-schemas.ts'
import {
  ChangeHeaders,
  changesOf,
  closedObject,
  emptyBody,
  IdParams,
  problems,
  refTo,
  singleLineText,
  storedMembers,
} from '../http/schemas.ts'

const members = {
  email: SafeEmail({ description: 'Unique; case-insensitive' }),
  displayName: singleLineText(100, 'The public name of the user, in any script'),
}

const roleList = Type.Array(Type.Unsafe<Role>(Type.String({ enum: [...roles] })), {
  minItems: 1,
  uniqueItems: true,
  maxItems: roles.length,
  description: 'The roles of the user; only another administrator can change them',
})
const password = Type.String({
  minLength: 15,
  maxLength: 1024,
  description: 'The password for the login; never returned',
})
/** The body that registers a user. */
const NewUser = closedObject({ ...members, password })
/** The body that changes a user. The address has a route of its own, because it needs a proof. */
const UserChanges = changesOf(closedObject({ displayName: members.displayName }))
/** The body that changes the roles of a user. */
const UserRoles = closedObject({ roles: roleList })
/** A user as the routes return it. */
export const User = closedObject({ ...storedMembers, ...members, roles: roleList }, { $id: 'User' })

/** The values of a user that routes read and write; the password hash is not one of them. */
export type UserValues = Pick<Static<typeof NewUser>, 'email' | 'displayName'> & { roles?: Role[] }

/** The schema of `GET /users/me`. */
export const ownUserRoute = {
  operationId: 'getOwnUser',
  summary: 'Read the own user',
  tags: ['users'],
  response: { 200: refTo(User), ...problems },
}

/** The rights of a principal; `can` of `@parapet/rbac/client` evaluates them. */
const Rights = Type.Unsafe<Pack>(
  closedObject({
    v: Type.Literal(1),
    exp: Type.Integer({ description: 'Until when they may be used, in milliseconds' }),
    yes: Type.Array(Type.String(), { description: 'Permissions that need no resource' }),
    if: Type.Record(
      Type.String(),
      closedObject({ any: Type.Array(Type.Unknown()), not: Type.Array(Type.Unknown()) }),
      { description: 'By permission: the conditions on the resource' },
    ),
  }),
)

/** The schema of `GET /users/me/rights`. */
export const ownRightsRoute = {
  operationId: 'getOwnRights',
  summary: 'Read the own rights, for pages that show what the user can do',
  tags: ['users'],
  response: { 200: Rights, ...problems },
}

/** The schema of `DELETE /users/me`. */
export const removeOwnUserRoute = {
  operationId: 'removeOwnUser',
  summary: 'Delete the own user; requires a second factor verified in the last five minutes',
  tags: ['users'],
  response: { 204: emptyBody('Deleted'), ...problems },
}

/** The schema of `PUT /users/:id/roles`. */
export const userRolesRoute = {
  operationId: 'setUserRoles',
  summary: 'Set the roles of another user; takes effect immediately',
  tags: ['users'],
  params: IdParams,
  headers: ChangeHeaders,
  body: UserRoles,
  response: { 200: refTo(User), ...problems },
}

const resource = describeResource({
  one: 'a user',
  many: 'users',
  names: ['User', 'Users'],
  stored: User,
  created: NewUser,
  changes: UserChanges,
})

/** The schemas of the other routes of users. */
export const userRoutes = {
  ...resource,
  create: {
    ...resource.create,
    summary: 'Register; the response does not reveal whether the address was free',
    response: {
      202: closedObject(
        { accepted: Type.Literal(true) },
        { description: 'If the address was free, the user can log in after it was verified' },
      ),
      ...problems,
    },
  },
}
