/** The headers that helmet does not know, computed by this plugin. */
import { NO_STORE } from '../policy/cache-control.ts'
import { networkErrorLoggingHeaders } from '../policy/network-error-logging.ts'
import { serializePermissions } from '../policy/permissions-policy.ts'
import type { Policy } from '../policy/policy.ts'

/** The name of the group of endpoints that receives reports. */
const REPORT_GROUP = 'default'

/**
 * Computes the headers that helmet does not know.
 *
 * @param reportPath the path that receives reports. `null`: browsers send none.
 */
export function ownHeaders(policy: Policy, reportPath: string | null): Record<string, string> {
  const { integrityPolicy, networkErrorLogging } = policy
  const endpoints = reportPath === null ? '' : `, endpoints=(${REPORT_GROUP})`
  return {
    'permissions-policy': serializePermissions(policy.permissions),
    ...(policy.cacheControl === 'no-store' ? { 'cache-control': NO_STORE } : {}),
    ...(integrityPolicy.length > 0
      ? { 'integrity-policy': `blocked-destinations=(${integrityPolicy.join(' ')})${endpoints}` }
      : {}),
    ...(reportPath === null
      ? {}
      : { 'reporting-endpoints': `${REPORT_GROUP}=${JSON.stringify(reportPath)}` }),
    ...(networkErrorLogging !== null && reportPath !== null
      ? networkErrorLoggingHeaders(networkErrorLogging, REPORT_GROUP, reportPath)
      : {}),
  }
}
