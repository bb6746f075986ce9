/** The functions of ANSI INCITS 359-2012 (NIST RBAC). */
import { fromMap, rbac } from '@parapet/rbac'
import { readVectors } from '@parapet/testing'
import Fastify from 'fastify'
import t from 'tap'

/** The functions of NIST RBAC and the member that provides each; `null`: not provided. */
const nist: Readonly<Record<string, string | null>> = {
  AddUser: null, // the login manages users
  DeleteUser: null,
  AddRole: 'publish',
  DeleteRole: 'publish',
  AssignUser: 'grant',
  DeassignUser: 'revoke',
  GrantPermission: 'publish',
  RevokePermission: 'publish',
  CreateSession: 'principal',
  DeleteSession: null, // the login manages sessions
  AddActiveRole: null, // dynamic separation of duty is not supported
  DropActiveRole: null,
  CheckAccess: 'can',
  AssignedUsers: 'whoCan',
  AssignedRoles: 'principal',
  RolePermissions: 'policy',
  UserPermissions: 'explain',
  SessionRoles: 'principal',
  SessionPermissions: 'explain',
  RoleOperationsOnObject: 'matrix',
  UserOperationsOnObject: 'explain',
  AddInheritance: 'publish',
  DeleteInheritance: 'publish',
  AddAscendant: 'publish',
  AddDescendant: 'publish',
  AuthorizedUsers: 'whoCan',
  AuthorizedRoles: 'explain',
  CreateSsdSet: 'publish',
  AddSsdRoleMember: 'publish',
  DeleteSsdRoleMember: 'publish',
  DeleteSsdSet: 'publish',
  SetSsdSetCardinality: 'publish',
  SsdRoleSets: 'policy',
  SsdRoleSetRoles: 'policy',
  SsdRoleSetCardinality: 'policy',
  CreateDsdSet: null,
  AddDsdRoleMember: null,
  DeleteDsdRoleMember: null,
  DeleteDsdSet: null,
  SetDsdSetCardinality: null,
  DsdRoleSets: null,
  DsdRoleSetRoles: null,
  DsdRoleSetCardinality: null,
}

await t.test('every function of NIST RBAC is provided or listed as not provided', async (t) => {
  const inventory = readVectors<{ total: number } & Record<string, Record<string, string[]>>>(
    t,
    'authz/incits359-functions.json',
  )
  if (inventory === null) return
  const names = ['core', 'hierarchical', 'ssd', 'dsd'].flatMap((part) =>
    Object.values(inventory[part]!).flat(),
  )
  t.equal(names.length, inventory.total)
  t.same(names.toSorted(), Object.keys(nist).toSorted())
  const app = Fastify()
  t.after(() => app.close())
  await app.register(rbac, { policy: fromMap({}) })
  const surface = [...Object.keys(app.rbac), 'principal', 'can']
  t.ok(Object.values(nist).every((how) => how === null || surface.includes(how)))
  t.comment(
    `${Object.values(nist).filter((how) => how !== null).length} of ${names.length} provided`,
  )
})
