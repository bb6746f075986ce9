/** The lockfile: every package comes from the registry, and has a digest. */
import { parse } from 'yaml'

type Members = Readonly<Record<string, unknown>>

/** One package of the lockfile. */
export interface LockedPackage {
  readonly name: string
  readonly version: string
}

/** The parts of pnpm-lock.yaml that are read here. */
interface Lockfile {
  readonly lockfileVersion?: unknown
  readonly importers?: Readonly<Record<string, Members>>
  readonly packages?: Readonly<Record<string, { readonly resolution?: Members }>>
}

/** Lists the packages of a lockfile. */
export function listLocked(text: string): LockedPackage[] {
  return Object.keys(readLockfile(text).packages ?? {}).map((key) => {
    const at = key.lastIndexOf('@')
    return { name: key.slice(0, at), version: key.slice(at + 1) }
  })
}

/**
 * Lists what a lockfile must not have: an address of its own (another registry, a repository, a file), or a
 * package without a SHA-512 digest.
 */
export function findLockfileFaults(text: string): string[] {
  const { lockfileVersion, importers = {}, packages = {} } = readLockfile(text)
  const faults = lockfileVersion === '9.0' ? [] : [`lockfileVersion is ${String(lockfileVersion)}`]
  for (const [key, { resolution = {} }] of Object.entries(packages)) {
    const others = Object.keys(resolution).filter((member) => member !== 'integrity')
    if (others.length > 0)
      faults.push(`${key}: has ${others.join(', ')}, so it is not from the registry`)
    const { integrity } = resolution
    const isDigest = typeof integrity === 'string' && /^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity)
    if (!isDigest) faults.push(`${key}: has no SHA-512 digest`)
    if (!/@\d+\.\d+\.\d+/.test(key)) faults.push(`${key}: has no version`)
  }
  for (const [folder, groups] of Object.entries(importers)) {
    for (const group of Object.values(groups)) {
      for (const [name, entry] of Object.entries(group as Members)) {
        const { specifier = '', version = '' } = entry as Readonly<Record<string, string>>
        const isForeign = /^(?:https?|git|github|file|link|portal|patch)[+:]/.test(specifier)
        const isElsewhere = /:\/\//.test(version)
        if (isForeign || isElsewhere) faults.push(`${folder}: ${name} is ${specifier} (${version})`)
      }
    }
  }
  return faults
}

/** Lists the lines of a settings file that name another registry, or a token. */
export function findRegistrySettings(text: string): string[] {
  return text
    .split('\n')
    .filter((line) => /^\s*(?:[\w@/.-]+:)?registr(?:y|ies)\b|_auth|authToken/i.test(line))
    .map((line) => line.trim().replace(/=.*/, '=…'))
}

function readLockfile(text: string): Lockfile {
  return (parse(text) ?? {}) as Lockfile
}
