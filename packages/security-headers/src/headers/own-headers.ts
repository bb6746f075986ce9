/** The headers that helmet does not know, computed by this plugin. */
import { REPORT_GROUP } from '../csp/effective-policies.ts'
import { NO_STORE } from '../policy/cache-control.ts'
import { serializeDocumentPolicy, type DocumentPolicy } from '../policy/document-policy.ts'
import { networkErrorLoggingHeaders } from '../policy/network-error-logging.ts'
import { serializePermissions } from '../policy/permissions-policy.ts'
import type { Policy } from '../policy/policy.ts'

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
    ...documentHeaders(policy, reportPath),
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

/** Document-Policy, and the policies that browsers only report on. */
function documentHeaders(policy: Policy, reportPath: string | null): Record<string, string> {
  const { documentPolicy, documentPolicyReportOnly } = policy
  const reports = reportPath !== null
  const observed = (value: string | null): string | null =>
    value !== null && reports ? `${value}; report-to="${REPORT_GROUP}"` : value
  const group = reports ? `, *;report-to=${REPORT_GROUP}` : ''
  const observedDocument = serialized(documentPolicyReportOnly)
  const headers = {
    'cross-origin-opener-policy-report-only': observed(policy.openerPolicyReportOnly),
    'cross-origin-embedder-policy-report-only': observed(policy.embedderPolicyReportOnly),
    'document-policy': serialized(documentPolicy),
    'document-policy-report-only': observedDocument === null ? null : `${observedDocument}${group}`,
  }
  return Object.fromEntries(
    Object.entries(headers).filter((header): header is [string, string] => header[1] !== null),
  )
}

function serialized(policy: DocumentPolicy | null): string | null {
  return policy === null ? null : serializeDocumentPolicy(policy)
}
