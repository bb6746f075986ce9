/** What this workspace claims of OWASP ASVS 5.0, from claims.txt. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { workspaceRoot } from '../workspace.ts'

/** A test that proves a requirement. */
interface Proof {
  /** From the root: `packages/sessions/test/cookies.test.ts`. */
  readonly file: string
  readonly title: string
}

interface Common {
  /** For instance `V3.3.1`. */
  readonly id: string
  /** 1 to 3. */
  readonly level: string
}

/** One line of claims.txt. */
export type Claim = Common &
  (
    | { readonly status: 'proved'; readonly proofs: readonly Proof[] }
    | { readonly status: 'documented'; readonly page: string; readonly note: string }
    | { readonly status: 'not-applicable' | 'open'; readonly note: string }
  )

/** The states of a requirement, in the order of the page. */
export const STATUSES = ['proved', 'documented', 'not-applicable', 'open'] as const

/** Reads claims. @throws Error with the number of a line that cannot be read. */
export function parseClaims(text: string): Claim[] {
  return text.split('\n').flatMap((line, index) => {
    if (line === '' || line.startsWith('#')) return []
    const [, id, level, status, rest] =
      /^(V\d+\.\d+\.\d+) ([123]) (proved|documented|not-applicable|open) (.+)$/.exec(line) ?? []
    const claim = id === undefined ? undefined : claimOf({ id, level: level! }, status!, rest!)
    if (claim === undefined) throw new Error(`claims.txt:${index + 1} cannot be read: ${line}`)
    return [claim]
  })
}

function claimOf(common: Common, status: string, rest: string): Claim | undefined {
  if (status === 'not-applicable' || status === 'open') return { ...common, status, note: rest }
  if (status === 'documented') {
    const [, page, note] = /^(\S+\.md) (.+)$/.exec(rest) ?? []
    return page === undefined ? undefined : { ...common, status, page, note: note! }
  }
  const proofs = rest.split(' | ').map((proof) => /^([\w-]+)\/([\w/-]+): (.+)$/.exec(proof))
  if (proofs.includes(null)) return undefined
  return {
    ...common,
    status: 'proved',
    proofs: proofs.map((found) => ({ file: fileOf(found![1]!, found![2]!), title: found![3]! })),
  }
}

function fileOf(place: string, name: string): string {
  const folder =
    { server: 'examples/reference-server/test', scripts: 'scripts/test' }[place] ??
    `packages/${place}/test`
  return `${folder}/${name}.test.ts`
}

/** The claims of this workspace. */
export function readClaims(): Claim[] {
  return parseClaims(readFileSync(join(workspaceRoot, 'scripts/asvs/claims.txt'), 'utf8'))
}
