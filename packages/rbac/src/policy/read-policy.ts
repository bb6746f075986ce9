/** Reads a policy from untrusted data, strictly, and returns one normal form. */
import {
  attributeTypes,
  type AttributeSchema,
  type AttributeType,
} from '../attributes/attributes.ts'
import { readCondition } from '../conditions/read-condition.ts'
import { ShapeReader } from '../conditions/shape-reader.ts'
import { PARAPET_RBAC_INVALID_POLICY } from '../errors.ts'
import type { RelationsDocument } from '../relations/relation-plan.ts'
import type {
  AssignmentDocument,
  DenyDocument,
  DutyDocument,
  PolicyDocument,
  RoleDocument,
} from './policy-types.ts'

const MAX_NAMES = 100_000
const PERMISSION = /^[^\s:*"]+(?::[^\s:*"]+)*$/u
const GRANT = /^(?:\*|[^\s:*"]+(?::[^\s:*"]+)*(?::\*)?)$/u
const ROLE = /^[^\s\p{Cc}](?:[^\p{Cc}]*[^\s\p{Cc}])?$/u
const ATTRIBUTE = /^[A-Za-z][A-Za-z0-9_]*$/
/** An attribute of an object inside, as `address.country`. */
const NESTED = /^[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*){0,7}$/
/** `user`, `user:*`, `group#member`. */
const DIRECT = /^(?:user:\*|[A-Za-z][A-Za-z0-9_]*(?:#[A-Za-z][A-Za-z0-9_]*)?)$/
/** `editor`, `parent.viewer`. */
const INCLUDED = /^[A-Za-z][A-Za-z0-9_]*(?:\.[A-Za-z][A-Za-z0-9_]*)?$/
const MAX_RELATIONS = 100
const KEYS = {
  policy: [
    'version',
    'permissions',
    'resources',
    'subject',
    'environment',
    'facts',
    'roles',
    'deny',
    'sod',
    'fields',
    'assignment',
    'delegation',
    'relations',
  ],
  relation: ['direct', 'includes'],
  assignment: ['maxRoles', 'maxHolders', 'requires'],
  role: ['inherits', 'grants', 'when'],
  deny: ['id', 'permissions', 'roles', 'when'],
  sod: ['id', 'roles', 'max'],
} as const

/**
 * Reads a policy, fills in the defaults and freezes it. It does not check whether names are declared;
 * {@link compilePolicy} does.
 *
 * @throws PARAPET_RBAC_INVALID_POLICY with every fault of the structure.
 */
export function readPolicy(value: unknown): PolicyDocument {
  const faults: string[] = []
  const shape = new ShapeReader(faults)
  const source = shape.record(value, 'policy', KEYS.policy)
  if (source['version'] !== undefined && source['version'] !== 1) {
    faults.push(`  version: must be 1, got ${JSON.stringify(source['version'])}`)
  }
  const policy: PolicyDocument = {
    version: 1,
    permissions: shape.names(source['permissions'], 'permissions', PERMISSION, MAX_NAMES),
    resources: shape.map(source['resources'], 'resources', ATTRIBUTE, (entry, path) =>
      readSchema(entry, path, shape),
    ),
    subject: readSchema(source['subject'], 'subject', shape),
    environment: readSchema(source['environment'], 'environment', shape),
    facts: readSchema(source['facts'], 'facts', shape),
    roles: shape.map(source['roles'], 'roles', ROLE, (entry, path) => readRole(entry, path, shape)),
    deny: shape.list(source['deny'], 'deny', (entry, path) => readDeny(entry, path, shape)),
    sod: shape.list(source['sod'], 'sod', (entry, path) => readDuty(entry, path, shape)),
    fields: shape.map(source['fields'], 'fields', ATTRIBUTE, (entry, path) =>
      shape.map(entry, path, ATTRIBUTE, (permission, at) => shape.text(permission, at, PERMISSION)),
    ),
    // Absent rather than empty, so that the digests of older policies stay valid.
    ...(source['assignment'] === undefined
      ? undefined
      : { assignment: readAssignment(source['assignment'], shape) }),
    ...(source['delegation'] === undefined
      ? undefined
      : { delegation: readRoleLists(source['delegation'], 'delegation', shape) }),
    ...(source['relations'] === undefined
      ? undefined
      : { relations: readRelations(source['relations'], shape) }),
  }
  if (faults.length > 0) throw new PARAPET_RBAC_INVALID_POLICY(faults.join('\n'))
  return Object.freeze(policy)
}

function readSchema(value: unknown, path: string, shape: ShapeReader): AttributeSchema {
  return shape.map(value, path, NESTED, (type, at) => {
    if (!attributeTypes.includes(type as AttributeType)) {
      shape.fault(at, `must be one of ${attributeTypes.join(', ')}; got ${JSON.stringify(type)}`)
    }
    return type as AttributeType
  })
}

function readRole(value: unknown, path: string, shape: ShapeReader): RoleDocument {
  const source = shape.record(value, path, KEYS.role)
  return Object.freeze({
    inherits: shape.names(source['inherits'], `${path}.inherits`, ROLE, MAX_NAMES),
    grants: shape.names(source['grants'], `${path}.grants`, GRANT, MAX_NAMES),
    when: shape.map(source['when'], `${path}.when`, GRANT, (entry, at) =>
      readCondition(entry, at, shape),
    ),
  })
}

function readDeny(value: unknown, path: string, shape: ShapeReader): DenyDocument {
  const source = shape.record(value, path, KEYS.deny)
  const { roles, when } = source
  return Object.freeze({
    id: shape.text(source['id'], `${path}.id`, ROLE),
    permissions: shape.names(source['permissions'], `${path}.permissions`, GRANT, MAX_NAMES),
    roles:
      roles === undefined || roles === null
        ? null
        : shape.names(roles, `${path}.roles`, ROLE, MAX_NAMES),
    when: when === undefined || when === null ? null : readCondition(when, `${path}.when`, shape),
  })
}

function readDuty(value: unknown, path: string, shape: ShapeReader): DutyDocument {
  const source = shape.record(value, path, KEYS.sod)
  const roles = shape.names(source['roles'], `${path}.roles`, ROLE, MAX_NAMES)
  const max = source['max'] ?? 1
  if (!Number.isSafeInteger(max) || (max as number) < 1 || (max as number) >= roles.length) {
    const range = `from 1 to ${roles.length - 1} (one less than the number of roles)`
    shape.fault(`${path}.max`, `must be an integer ${range}, got ${JSON.stringify(max)}`)
  }
  return Object.freeze({
    id: shape.text(source['id'], `${path}.id`, ROLE),
    roles,
    max: max as number,
  })
}

function readAssignment(value: unknown, shape: ShapeReader): AssignmentDocument {
  const source = shape.record(value, 'assignment', KEYS.assignment)
  const { maxRoles = null } = source
  if (maxRoles !== null) readLimit(maxRoles, 'assignment.maxRoles', shape)
  return Object.freeze({
    maxRoles: maxRoles as number | null,
    maxHolders: shape.map(source['maxHolders'], 'assignment.maxHolders', ROLE, (entry, path) =>
      readLimit(entry, path, shape),
    ),
    requires: readRoleLists(source['requires'], 'assignment.requires', shape),
  })
}

function readRoleLists(
  value: unknown,
  path: string,
  shape: ShapeReader,
): Readonly<Record<string, readonly string[]>> {
  return shape.map(value, path, ROLE, (entry, at) => shape.names(entry, at, ROLE, MAX_NAMES))
}

function readRelations(value: unknown, shape: ShapeReader): RelationsDocument {
  return shape.map(value, 'relations', ATTRIBUTE, (members, path) =>
    shape.map(members, path, ATTRIBUTE, (entry, at) => {
      const source = shape.record(entry, at, KEYS.relation)
      return Object.freeze({
        direct: shape.names(source['direct'], `${at}.direct`, DIRECT, MAX_RELATIONS),
        includes: shape.names(source['includes'], `${at}.includes`, INCLUDED, MAX_RELATIONS),
      })
    }),
  )
}

function readLimit(value: unknown, path: string, shape: ShapeReader): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1) {
    shape.fault(path, `must be an integer of at least 1, got ${JSON.stringify(value)}`)
  }
  return value as number
}
