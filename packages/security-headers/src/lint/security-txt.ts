/** The lint of the option `securityTxt`. @see RFC 9116, section 2.5 */
import { daysUntilExpiry, type SecurityTxt } from '../reports/security-txt.ts'
import type { Finding, RuleId } from './rules.ts'

const MAX_DAYS = 366

/** Finds the rules that a security.txt file breaks. @param now milliseconds since the epoch. */
export function lintSecurityTxt(file: SecurityTxt, now: number): Finding[] {
  const findings: Finding[] = []
  const report = (rule: RuleId, field: string, found: string): void => {
    findings.push({ rule, where: `option securityTxt.${field}`, found })
  }
  const days = daysUntilExpiry(file, now)
  // An expired file does not stop a start: the clock alone must not. Events warn of it.
  if (Number.isNaN(days)) report('TXT-DATE', 'expires', file.expires)
  else if (days > MAX_DAYS) report('TXT-TOO-FAR', 'expires', file.expires)
  for (const contact of file.contact) {
    if (!/^(?:mailto:|https:\/\/|tel:)\S+$/.test(contact)) {
      report('TXT-CONTACT', 'contact', contact)
    }
  }
  for (const field of ['canonical', 'policy', 'hiring', 'acknowledgments', 'encryption'] as const) {
    for (const link of file[field]) {
      // RFC 9116, section 2.5.4: a key may also be given by a DNS record or by its fingerprint.
      const isKeyUri = field === 'encryption' && /^(?:dns|openpgp4fpr):./.test(link)
      if (!isKeyUri && !/^https:\/\/./.test(link)) report('TXT-LINK', field, link)
    }
  }
  return findings
}
