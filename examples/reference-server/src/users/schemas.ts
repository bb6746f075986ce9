/** The shape of a user. */
import { Type, type Static } from '@sinclair/typebox'
import { roles, type Role } from '../policy.ts'
import { describeResource } from '../resource.ts'
import {
  ChangeHeaders,
  changesOf,
  closedObject,
  IdParams,
  line,
  problems,
  refTo,
  storedMembers,
} from '../schemas.ts'

const members = {
  email: Type.String({ format: 'email', maxLength: 254, description: 'Unique, in whatever case' }),
  displayName: line(100, 'How the user is shown, in any script'),
}

const roleList = Type.Array(Type.Unsafe<Role>(Type.String({ enum: [...roles] })), {
  minItems: 1,
  uniqueItems: true,
  maxItems: roles.length,
  description: 'What the user may do; only an administrator changes them',
})
const password = Type.String({
  minLength: 12,
  maxLength: 1024,
  description: 'To log in with; never returned',
})
/** What a caller sends to make a user. */
export const NewUser = closedObject({ ...members, password: Type.Optional(password) })
export type NewUser = Static<typeof NewUser>
/** What a caller sends to change one. */
const UserChanges = changesOf(closedObject(members))
/** What an administrator sends to change what a user may do. */
const UserRoles = closedObject({ roles: roleList })
/** A user as it is returned. */
export const User = closedObject({ ...storedMembers, ...members, roles: roleList }, { $id: 'User' })

/** The values that its table holds in the open. */
export type UserValues = Static<typeof UserChanges> &
  Pick<NewUser, 'email' | 'displayName'> & { roles?: Role[] }

/** The schema of `/users/me`. */
export const ownUserRoute = {
  operationId: 'getOwnUser',
  summary: 'Read the user who is logged in',
  tags: ['users'],
  response: { 200: refTo(User), ...problems },
}

/** The schema of `/users/me/password`. */
export const ownPasswordRoute = {
  operationId: 'changeOwnPassword',
  summary: 'Change the own password; every session of the user ends',
  tags: ['users'],
  body: closedObject({ current: Type.String({ maxLength: 1024 }), next: password }),
  response: { 204: Type.Null({ description: 'Changed' }), ...problems },
}

/** The schema of the end of one's own account. */
export const removeOwnUserRoute = {
  operationId: 'removeOwnUser',
  summary: 'Delete the user who is logged in; asks for a second factor of the last five minutes',
  tags: ['users'],
  response: { 204: Type.Null({ description: 'Deleted' }), ...problems },
}

/** The schema of `/users/:id/roles`. */
export const userRolesRoute = {
  operationId: 'setUserRoles',
  summary: 'Say what another user may do; it holds at once',
  tags: ['users'],
  params: IdParams,
  headers: ChangeHeaders,
  body: UserRoles,
  response: { 200: refTo(User), ...problems },
}

/** The schemas of its routes. */
export const userRoutes = describeResource({
  one: 'a user',
  many: 'users',
  names: ['User', 'Users'],
  stored: User,
  created: NewUser,
  changes: UserChanges,
})
