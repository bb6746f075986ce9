/** Records in ArcSight's Common Event Format, revision 25. */
import { escapeText } from './controls.ts'
import { ownMember, SEVERITIES, textOf, type MappedEntry } from './members.ts'

/** By the number in {@link SEVERITIES}; CEF has 0 to 10. */
const CEF_SEVERITY = [0, 2, 4, 6, 8, 10]

/** Maps an entry to one line of CEF. */
export function toCef({ record, index }: MappedEntry): string {
  const severity = CEF_SEVERITY[ownMember(SEVERITIES, record.severity) ?? 1]
  const header = ['Parapet', 'audit-log', '1', record.action, record.action, String(severity)]
  const extension: Record<string, string | undefined> = {
    rt: String(record.time),
    externalId: record.id,
    cn1Label: 'index',
    cn1: String(index),
    act: record.action,
    outcome: record.result,
    suser: textOf(record.principal),
    src: textOf(record.ip),
    requestClientApplication: textOf(record.userAgent),
    request: record.route,
    reason: record.errorCode,
    cs1Label: 'resource',
    cs1: [record.resource, textOf(record.resourceId)]
      .filter((part) => part !== undefined)
      .join('/'),
    cs2Label: 'data',
    cs2: record.data === undefined ? undefined : JSON.stringify(record.data),
  }
  const pairs = Object.entries(extension).flatMap(([name, value]) =>
    value === undefined || value === '' ? [] : [`${name}=${cefValue(value)}`],
  )
  return `CEF:0|${header.map(cefHeader).join('|')}|${pairs.join(' ')}`
}

function cefHeader(value: string): string {
  return oneLine(value.replaceAll('\\', '\\\\').replaceAll('|', '\\|')).replaceAll('\\n', ' ')
}

function cefValue(value: string): string {
  return oneLine(value.replaceAll('\\', '\\\\').replaceAll('=', '\\='))
}

/** Escapes every line break that a receiver may split at, and all other control characters. */
function oneLine(value: string): string {
  return escapeText(value.replaceAll(/\r\n|[\r\n\u0085\u2028\u2029]/g, '\\n'))
}
