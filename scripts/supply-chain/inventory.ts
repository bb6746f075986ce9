/** The software bill of materials, as pnpm makes it from the lockfile. */
import type { LockedPackage } from './lockfile.ts'

/** The parts of a CycloneDX document that are read here. */
export interface Inventory {
  readonly bomFormat?: unknown
  readonly specVersion?: unknown
  readonly components?: readonly {
    readonly name?: string
    readonly group?: string
    readonly version?: string
    readonly purl?: string
  }[]
}

/** Lists what a document lacks: its format, or packages of the lockfile. */
export function findInventoryFaults(
  { bomFormat, specVersion, components = [] }: Inventory,
  locked: readonly LockedPackage[],
): string[] {
  const faults: string[] = []
  if (bomFormat !== 'CycloneDX') faults.push(`bomFormat is ${String(bomFormat)}`)
  if (!/^1\.[5-9]$/.test(String(specVersion))) faults.push(`specVersion is ${String(specVersion)}`)
  const named = new Set(
    components.map(
      ({ group, name, version }) => `${group === undefined ? '' : `${group}/`}${name}@${version}`,
    ),
  )
  const missing = locked.filter(({ name, version }) => !named.has(`${name}@${version}`))
  faults.push(...missing.map(({ name, version }) => `${name}@${version} is missing`))
  const bare = components.filter(({ purl }) => purl?.startsWith('pkg:npm/') !== true)
  faults.push(...bare.map(({ name }) => `${String(name)} has no package URL`))
  return faults
}
