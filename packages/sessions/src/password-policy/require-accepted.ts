/** Refuses a password in the words of its user. */
import { PARAPET_SESSIONS_PASSWORD_REFUSED } from '../errors.ts'
import type { PasswordContext, PasswordFault, PasswordPolicy } from './password-policy.ts'

const SENTENCES: Readonly<Record<Exclude<PasswordFault, 'too_short'>, string>> = {
  too_long: 'It is too long.',
  malformed: 'It has characters that are no text.',
  common: 'It is one of the most common passwords.',
  trivial: 'It is a repetition or a run of characters.',
  context: 'It consists of the name or the address of the account or of the service.',
  breached: 'It is known from breaches of other services.',
}

/**
 * For a sign-up of your own: refuses a password that the policy does not accept, and says why.
 *
 * @throws PARAPET_SESSIONS_PASSWORD_REFUSED with `faults`.
 */
export async function requireAccepted(
  policy: PasswordPolicy,
  password: string,
  context: PasswordContext = {},
): Promise<void> {
  const { accepted, faults } = await policy.check(password, context)
  if (accepted) return
  const sentences = faults.map((fault) =>
    fault === 'too_short' ? `Use at least ${policy.minLength} characters.` : SENTENCES[fault],
  )
  throw Object.assign(new PARAPET_SESSIONS_PASSWORD_REFUSED(sentences.join(' ')), { faults })
}
