/** Tells users by mail what became of their data requests. */
import type { SqlClient } from '@parapet/kit'
import type { PrivacyOptions, SubjectMessage } from '@parapet/privacy'
import { SERVICE } from './messages.ts'
import type { SendMail } from './transport.ts'

type Kind = SubjectMessage['kind']

const TITLES: Readonly<Record<SubjectMessage['type'], string>> = {
  access: 'a copy of your data',
  portability: 'your data to take along',
  rectification: 'a correction of your data',
  restriction: 'a restriction of the use of your data',
  objection: 'your objection',
  erasure: 'the erasure of your data',
}

const TEXTS: Readonly<Record<Kind, string>> = {
  confirm: 'Confirm the request with this token:',
  login:
    'Someone asked for this with your address. If it was you, log in and ask there; otherwise ignore this message.',
  running: 'We erase your data now. This is the last message to this address.',
  ready: 'It is ready. Log in and download it; the download ends at the time below.',
  held: 'A legal obligation stops it for now. We go on when it ends.',
  rejected: 'We cannot do it. You may complain to a supervisory authority.',
  extended: 'We need more time, until the time below.',
  completed: 'It is done.',
}

/** Creates the option `deliver` of privacy. A user whose address is erased gets nothing any more. */
export function createPrivacyMail(
  sql: SqlClient,
  send: SendMail,
  publicUrl: string,
): NonNullable<PrivacyOptions['deliver']> {
  const text = `SELECT email FROM users WHERE id::text = $1 AND email NOT LIKE '%@erased.invalid'`
  return async ({ kind, subject, type, token, expiresAt, reason }) => {
    const to = (await sql.query<{ email: string }>(text, [subject])).rows[0]?.email
    if (to === undefined) return
    const paragraphs = [
      TEXTS[kind],
      token,
      reason === undefined ? undefined : `reason: ${reason}`,
      expiresAt === undefined ? undefined : `time: ${new Date(expiresAt).toUTCString()}`,
      `${publicUrl}/console`,
    ].filter((each) => each !== undefined)
    const message = { to, userId: subject, text: `${paragraphs.join('\n\n')}\n` }
    await send({ ...message, subject: `${SERVICE}: ${TITLES[type]}` })
  }
}
