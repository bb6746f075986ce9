/** A naive implementation of decisions, to compare the engine with. */
import type { Condition, PolicyDocument } from '@parapet/rbac'
import { NOW, refs, type Request } from './arbitraries.ts'

type Attributes = Readonly<Record<string, unknown>>
type Truth = boolean | null

/** Decides a permission by the specification alone: no bit sets, no compilation, no caches. */
export function oracle(policy: PolicyDocument, asked: Request): boolean {
  const held = new Set<string>()
  const visit = (role: string): void => {
    if (!Object.hasOwn(policy.roles, role) || held.has(role)) return
    held.add(role)
    policy.roles[role]!.inherits.forEach(visit)
  }
  asked.principal.roles.forEach(visit)
  if (policy.sod.some(({ roles, max }) => roles.filter((role) => held.has(role)).length > max))
    return false
  const covers = (grant: string) =>
    grant === '*' ||
    grant === asked.permission ||
    (grant.endsWith('*') && asked.permission.startsWith(grant.slice(0, -1)))
  const roles = [...held].map((role) => policy.roles[role]!)
  const granted =
    asked.principal.permissions?.includes(asked.permission) === true ||
    roles.some((role) => role.grants.some(covers)) ||
    roles.some(({ when }) =>
      Object.entries(when).some(([grant, tree]) => covers(grant) && truth(tree, asked) === true),
    )
  const denied = policy.deny.some(
    (rule) =>
      (rule.roles === null || rule.roles.some((role) => held.has(role))) &&
      rule.permissions.some(covers) &&
      (rule.when === null || truth(rule.when, asked) !== false),
  )
  return granted && !denied
}

function truth(tree: Condition, asked: Request): Truth {
  if (tree.op === 'not') {
    const inner = truth(tree.of, asked)
    return inner === null ? null : !inner
  }
  if (tree.op === 'and' || tree.op === 'or') {
    const parts = tree.of.map((part) => truth(part, asked))
    if (parts.includes(tree.op === 'or')) return tree.op === 'or'
    return parts.includes(null) ? null : tree.op === 'and'
  }
  if (tree.op === 'exists') return read(tree.left.ref, asked) !== undefined
  if (tree.op === 'cidr' || tree.op === 'during' || tree.op === 'related') {
    throw new Error('not generated')
  }
  const times = [tree.left, tree.right].some(
    (each) => 'ref' in each && refs.time.includes(each.ref as never),
  )
  const [left, right] = [tree.left, tree.right].map((each) => {
    if ('ref' in each) {
      const found = read(each.ref, asked)
      const moved = found !== undefined && each.plusMs !== undefined
      const time = moved ? (found as number) + each.plusMs : found
      return moved && (time as number) > 8_640_000_000_000_000 ? undefined : time
    }
    return times ? Date.parse(String(each.value)) : each.value
  }) as [never, never]
  if (left === undefined || right === undefined) return null
  if (tree.op === 'in') {
    if ((right as unknown[]).includes(left)) return true
    return (right as unknown[]).every((each) => typeof each === typeof left) ? false : null
  }
  if (tree.op === 'containsAny' || tree.op === 'containsAll') {
    return contains(tree.op, left, right)
  }
  if (tree.op === 'startsWith' || tree.op === 'under') {
    // Half of a surrogate pair is no prefix.
    if (!(right as string).isWellFormed()) return false
  }
  if (tree.op === 'startsWith') return (left as string).startsWith(right)
  if (tree.op === 'under') return isUnder(left, right)
  return {
    eq: left === right,
    ne: left !== right,
    lt: left < right,
    lte: left <= right,
    gt: left > right,
    gte: left >= right,
  }[tree.op]
}

const isText = (each: unknown) => typeof each === 'string'
const segments = (text: string) => text.replace(/\/$/, '').split('/')

function contains(
  op: 'containsAny' | 'containsAll',
  left: readonly unknown[],
  right: readonly unknown[],
): Truth {
  const found = (each: unknown) => isText(each) && left.includes(each)
  if (op === 'containsAny') {
    if (right.some(found)) return true
    return [...left, ...right].every(isText) ? false : null
  }
  if (right.every(found)) return true
  const isMissing = left.every(isText) && right.some((each) => isText(each) && !left.includes(each))
  return isMissing ? false : null
}

function isUnder(path: string, ancestor: string): boolean {
  const start = segments(ancestor)
  // `x` is under `x`, and a trailing slash of the path is one more, empty segment.
  const own = path.split('/')
  return start.every((each, index) => each === own[index])
}

function read(name: string, { principal, resource, subject, load, friend }: Request): unknown {
  const [root, key] = name.split('.') as [string, string]
  const sources: Record<string, Attributes | undefined> = {
    subject: {
      ...subject,
      id: principal.id,
      tenantId: principal.tenantId,
      authenticatedAt: principal.authenticatedAt,
      roles: principal.roles,
      amr: principal.amr,
    },
    resource,
    environment: { time: NOW, load },
    fact: { friend },
  }
  const found = sources[root]?.[key]
  if (refs.time.includes(name as never)) {
    return found instanceof Date
      ? found.getTime()
      : typeof found === 'number' && !Number.isNaN(found)
        ? found
        : undefined
  }
  if (refs.list.includes(name as never)) return Array.isArray(found) ? found : undefined
  const kind = (['string', 'number', 'boolean'] as const).find((each) =>
    refs[each].includes(name as never),
  )
  return typeof found === kind && !Number.isNaN(found) ? found : undefined
}
