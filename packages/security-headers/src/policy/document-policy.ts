/** `Document-Policy`: features that a document configures for itself. @see WICG Document Policy */
import { option, type OptionReader } from '@parapet/kit'

/** Values by feature: `{ 'document-write': false, 'js-profiling': true }`. */
export type DocumentPolicy = Readonly<Record<string, boolean | number>>

const FEATURE = /^[a-z][a-z0-9*-]{0,63}$/

function checkValue(value: unknown): string | undefined {
  const fits =
    typeof value === 'boolean' || (typeof value === 'number' && value >= 0 && value < 1e6)
  return fits ? undefined : 'must be true, false or a number from 0 to 1000000'
}

const features = option.map(option.custom<boolean | number>(checkValue))

/** Reads the options `documentPolicy` and `documentPolicyReportOnly`. */
export const documentPolicyReader: OptionReader<DocumentPolicy> = {
  read: (value, path, faults) => {
    const policy = features.read(value, path, faults)
    for (const name of Object.keys(policy)) {
      if (!FEATURE.test(name))
        faults.add(`${path}.${name}`, 'must be a feature such as document-write')
    }
    return policy
  },
}

/** The value of the header: a dictionary. @see RFC 9651, section 3.2 */
export function serializeDocumentPolicy(policy: DocumentPolicy): string {
  return Object.entries(policy)
    .map(([name, value]) => {
      if (value === true) return name
      return value === false ? `${name}=?0` : `${name}=${Number(value.toFixed(3))}`
    })
    .join(', ')
}
