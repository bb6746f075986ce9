/** Examines the secrets and the configuration of a service. */
import type { SecretsProvider } from '../providers/provider.ts'
import { bounded } from '../providers/provider.ts'
import { reasonOf } from '../rotation/reason.ts'
import { Secret } from '../value/secret.ts'
import { nameKnownFormat } from './known-formats.ts'
import { findWeakness, readExpiry } from './strength.ts'

/** One thing that is wrong. It never contains a value. */
export interface Finding {
  /** `error`: stops the boot in production. */
  readonly severity: 'error' | 'warning'
  /** The secret, the variable or the provider. */
  readonly name: string
  /** Continues `"NAME" …`. */
  readonly problem: string
  readonly fix: string
}

/** A secret to examine. */
interface ExaminedSecret {
  readonly name: string
  readonly value: Secret
  readonly expiresAt?: number | undefined
}

/** What {@link examine} takes. */
export interface DoctorInput {
  readonly secrets: readonly ExaminedSecret[]
  /** Configuration that is no secret: a value that looks like one is in the wrong place. */
  readonly plain: Readonly<Record<string, unknown>>
  readonly providers: readonly {
    readonly provider: SecretsProvider
    readonly paths: readonly string[]
  }[]
  /** Names of secrets that need not be strong, with the reason. */
  readonly accepted: Readonly<Record<string, string>>
  readonly now: number
  readonly deadlineMs: number
}

/** Examines everything; the errors come first. */
export async function examine(input: DoctorInput): Promise<readonly Finding[]> {
  const findings = [
    ...examineValues(input),
    ...findDuplicates(input.secrets),
    ...examinePlain(input.plain),
    ...(await examineProviders(input)),
  ]
  return findings.toSorted(
    (a, b) => Number(a.severity === 'warning') - Number(b.severity === 'warning'),
  )
}

function examineValues({ secrets, accepted, now }: DoctorInput): Finding[] {
  return secrets.flatMap(({ name, value, expiresAt }) => {
    const findings: Finding[] = []
    const weakness = Object.hasOwn(accepted, name) ? undefined : value.use(findWeakness)
    if (weakness !== undefined) {
      const fix = 'generate 32 random bytes, for instance by "openssl rand -base64 32"'
      findings.push({ severity: 'error', name, problem: weakness, fix })
    }
    const expiry = expiresAt ?? value.use(readExpiry)
    if (expiry !== undefined && expiry <= now) {
      const problem = `expired${onDay(expiry)}`
      findings.push({ severity: 'error', name, problem, fix: 'replace it' })
    }
    return findings
  })
}

/** A token may name a time that no date can show. */
function onDay(time: number): string {
  return Math.abs(time) <= 8.64e15 ? ` on ${new Date(time).toISOString()}` : ''
}

function findDuplicates(secrets: readonly ExaminedSecret[]): Finding[] {
  return secrets.flatMap(({ name, value }, index) => {
    const other = secrets.slice(0, index).find((each) => each.value.equals(value))
    if (other === undefined) return []
    const problem = `has the same value as "${other.name}"`
    return [{ severity: 'error', name, problem, fix: 'give each purpose its own secret' } as const]
  })
}

/** Looks for credentials in the texts of the configuration, at any depth. */
function examinePlain(plain: Readonly<Record<string, unknown>>): Finding[] {
  const findings: Finding[] = []
  const look = (name: string, value: unknown, depth: number): void => {
    if (value instanceof Secret || depth > 5) return
    if (typeof value === 'string') {
      const format = nameKnownFormat(value)
      if (format === undefined) return
      const problem = `contains ${format}, but is not declared as a secret`
      const fix = 'declare it with secretText(), or move it to a provider'
      findings.push({ severity: 'error', name, problem, fix })
    } else if (typeof value === 'object' && value !== null) {
      for (const [key, member] of Object.entries(value)) look(`${name}.${key}`, member, depth + 1)
    }
  }
  for (const [name, value] of Object.entries(plain)) look(name, value, 0)
  return findings
}

async function examineProviders({
  providers,
  deadlineMs,
  accepted,
}: DoctorInput): Promise<Finding[]> {
  const reports = providers.map(async ({ provider, paths }): Promise<Finding[]> => {
    const { name } = provider
    try {
      const found = await bounded(provider.inspect?.(paths) ?? Promise.resolve([]), {
        name,
        deadlineMs,
      })
      // The name of a provider accepts what the platform decides, such as the modes of mounted files.
      const isAccepted = Object.hasOwn(accepted, name)
      return found.map(({ severity, problem, fix }) => ({
        severity: isAccepted ? 'warning' : severity,
        name,
        problem,
        fix,
      }))
    } catch (error) {
      const problem = `could not be examined: ${reasonOf(error)}`
      return [{ severity: 'error', name, problem, fix: 'check its address and credentials' }]
    }
  })
  return (await Promise.all(reports)).flat()
}

/** One line for each finding. */
export function renderFindings(findings: readonly Finding[]): string {
  return findings.map(({ name, problem, fix }) => `  "${name}" ${problem}; ${fix}`).join('\n')
}
