/** Compares the encrypted personal values with the hashes in their records. */
import type { VerifiableLog } from '../log/log-store.ts'
import type { AuditRecord } from '../record/leaf.ts'
import { commitmentsIn, sealedHash } from '../record/personal-data.ts'
import type { Findings } from './report.ts'

interface Expected {
  readonly index: number
  readonly hashes: Set<string>
}

/** Takes records; compares them in batches. A missing value is the subject of the ledger. */
export class ValueCheck {
  readonly #store: VerifiableLog
  readonly #findings: Findings
  readonly #expected = new Map<string, Expected>()
  readonly #subjects = new Set<string>()

  constructor(store: VerifiableLog, findings: Findings) {
    this.#store = store
    this.#findings = findings
  }

  /** @param blob the large members of the record, which may have commitments as well. */
  add(index: number, record: AuditRecord, blob?: string): void {
    const commitments = commitmentsIn(record)
    if (blob !== undefined) commitments.push(...commitmentsIn(parse(blob)))
    const hashes = new Set(commitments.flatMap(({ sealed }) => sealed ?? []))
    // A record of an older format does not have the hashes.
    if (hashes.size === 0 || hashes.size < commitments.length) return
    this.#expected.set(record.id, { index, hashes })
    for (const { subject } of commitments) this.#subjects.add(subject)
  }

  async compare(): Promise<void> {
    if (this.#expected.size === 0) return
    const ids = [...this.#expected.keys()]
    for (const { value, key } of await this.#store.valuesOfMany(ids, [...this.#subjects])) {
      const { index, hashes } = this.#expected.get(value.record)!
      if (hashes.has(sealedHash(value, key))) continue
      const detail = `the encrypted value "${value.path}" or its key was edited or exchanged`
      this.#findings.add({ kind: 'value', index, id: value.record, detail })
    }
    this.#expected.clear()
    this.#subjects.clear()
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
