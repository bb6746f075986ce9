/** `NEL`: browsers report requests that failed on the network. @see W3C Network Error Logging */
import { option, optionGroup, type OptionReader } from '@parapet/kit'

/** The settings of `NEL`. */
export interface NetworkErrorLogging {
  /** How long browsers keep reporting: seconds. */
  readonly maxAgeSeconds: number
  /** @default false */
  readonly includeSubDomains: boolean
}

/** Reads the option `networkErrorLogging`. */
export const networkErrorLoggingReader: OptionReader<NetworkErrorLogging> = optionGroup({
  maxAgeSeconds: option.seconds(),
  includeSubDomains: option.boolean({ default: false }),
})

/**
 * The two headers that switch NEL on.
 *
 * @param group the name of the reporting group.
 * @param url the path that receives the reports.
 */
export function networkErrorLoggingHeaders(
  { maxAgeSeconds, includeSubDomains }: NetworkErrorLogging,
  group: string,
  url: string,
): Record<string, string> {
  return {
    // NEL does not read Reporting-Endpoints: it needs the older Report-To header.
    'report-to': JSON.stringify({ group, max_age: maxAgeSeconds, endpoints: [{ url }] }),
    nel: JSON.stringify({
      report_to: group,
      max_age: maxAgeSeconds,
      include_subdomains: includeSubDomains,
    }),
  }
}
