/** Messages by e-mail, through nodemailer, which the app installs. */
import {
  PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT,
  PARAPET_INCIDENT_RESPONSE_MISSING_LIBRARY,
  PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED,
} from '../errors.ts'
import type { Notifier } from './notifier.ts'

/** The part of a transport of nodemailer that is used. */
interface MailTransport {
  sendMail(mail: Readonly<Record<string, unknown>>): Promise<unknown>
  verify?(): Promise<unknown>
}

/** What {@link createMailNotifier} takes. */
export interface MailOptions {
  /** `smtps://user:password@mail.example.com`, or a transport of nodemailer. */
  readonly transport: string | MailTransport
  readonly from: string
  readonly to: readonly [string, ...string[]]
}

/** A server that does not answer must not hold the connection for nodemailer's ten minutes. */
const SOCKET_TIMEOUT_MS = 15_000

/**
 * Sends each message as an e-mail in plain text.
 *
 * @throws PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT
 */
export function createMailNotifier({ transport, from, to }: MailOptions): Notifier {
  if (!Array.isArray(to) || to.length === 0) refuse('"to"', 'must be a list of addresses')
  if (typeof from !== 'string' || from === '') refuse('"from"', 'must be an address')
  let opening: Promise<MailTransport> | undefined
  const open = (): Promise<MailTransport> =>
    (opening ??=
      typeof transport === 'string' ? openTransport(transport) : Promise.resolve(transport))
  const guarded = async (work: (mailer: MailTransport) => Promise<unknown>): Promise<void> => {
    const mailer = await open()
    try {
      await work(mailer)
    } catch (error) {
      // Its message may quote what the server says of the password.
      const { code, responseCode } = error as {
        readonly code?: string
        readonly responseCode?: number
      }
      const reason = [code, responseCode].filter((part) => part !== undefined).join(' ')
      throw new PARAPET_INCIDENT_RESPONSE_NOT_DELIVERED('mail', reason || 'the server failed')
    }
  }
  return {
    send: ({ key, title, text, severity }) =>
      guarded((mailer) =>
        mailer.sendMail({
          from,
          to: [...to],
          subject: title,
          text,
          // The same in each attempt, so that mail programs show one.
          messageId: `<${key.replaceAll(/[^\w.-]/g, '.')}@parapet.invalid>`,
          headers: { 'Auto-Submitted': 'auto-generated' },
          priority: severity === 'critical' ? 'high' : 'normal',
          disableFileAccess: true,
          disableUrlAccess: true,
        }),
      ),
    check: () => guarded(async (mailer) => mailer.verify?.()),
  }
}

async function openTransport(url: string): Promise<MailTransport> {
  const { createTransport } = await loadNodemailer()
  return createTransport({
    url,
    connectionTimeout: SOCKET_TIMEOUT_MS,
    greetingTimeout: SOCKET_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
  } as object)
}

async function loadNodemailer() {
  try {
    return await import('nodemailer')
  } catch (cause) {
    throw Object.assign(
      new PARAPET_INCIDENT_RESPONSE_MISSING_LIBRARY('createMailNotifier', 'nodemailer'),
      { cause },
    )
  }
}

function refuse(what: string, problem: string): never {
  throw new PARAPET_INCIDENT_RESPONSE_INVALID_ARGUMENT(what, problem)
}
