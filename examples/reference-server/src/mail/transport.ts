/** Sends mail: by SMTP, or as files in a folder that only this operating system user can read. */
import { randomUUID } from 'node:crypto'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** One message, in plain text. */
export interface Mail {
  readonly to: string
  /** Whose account it is about: an erasure finds its file by it. */
  readonly userId: string
  readonly subject: string
  readonly text: string
}

/** Sends one message. It rejects if the message was not accepted, and is called again then. */
export type SendMail = (mail: Mail) => Promise<void>

/** Where mail goes. */
export interface MailSettings {
  /** `smtp://user:password@host:587` or `smtps://…`; `undefined`: files. */
  readonly smtpUrl: string | undefined
  /** The folder of the files. */
  readonly outboxDir: string
  readonly from: string
}

/** Less than the time that a job may take. */
const TIMEOUT_MS = 8000
/** The oldest files beyond it are deleted. */
const MAX_FILES = 1000

/** Creates the transport. Its library is loaded with the first message. */
export function createSendMail({ smtpUrl, outboxDir, from }: MailSettings): SendMail {
  return smtpUrl === undefined ? sendToFolder(outboxDir, from) : sendBySmtp(smtpUrl, from)
}

function sendBySmtp(url: string, from: string): SendMail {
  const timeouts = {
    connectionTimeout: TIMEOUT_MS,
    greetingTimeout: TIMEOUT_MS,
    socketTimeout: TIMEOUT_MS,
    dnsTimeout: TIMEOUT_MS,
  }
  return async ({ to, subject, text }) => {
    const { createTransport } = await import('nodemailer')
    // A connection for each message: few are sent, and none is left open at the end.
    const transport = createTransport({ url, ...timeouts })
    try {
      const safe = { disableFileAccess: true, disableUrlAccess: true } as const
      await transport.sendMail({ from, to, subject, text, ...safe })
    } catch (error) {
      throw new MailError(error)
    } finally {
      transport.close()
    }
  }
}

/** A mail server quotes the address in its answer, and the error of a job is stored and logged. */
class MailError extends Error {
  override readonly name = 'MailError'
  readonly code: string

  constructor(error: unknown) {
    const { code = 'UNKNOWN', responseCode = '' } = error as {
      readonly code?: string
      readonly responseCode?: number | ''
    }
    super(`the mail server did not take the message: ${code} ${responseCode}`)
    this.code = code
  }
}

function sendToFolder(folder: string, from: string): SendMail {
  return async ({ to, userId, subject, text }) => {
    const { createTransport } = await import('nodemailer')
    const transport = createTransport({ streamTransport: true, buffer: true })
    const { message } = await transport.sendMail({ from, to, subject, text })
    await mkdir(folder, { recursive: true, mode: 0o700 })
    // Sorts by time.
    const time = new Date().toISOString().replaceAll(':', '-')
    const name = `${time}-${randomUUID()}${ownerOf(userId)}.eml`
    await writeFile(join(folder, name), message as Buffer, { flag: 'wx', mode: 0o600 })
    await removeOldest(folder)
  }
}

async function removeOldest(folder: string): Promise<void> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.eml')).toSorted()
  for (const name of names.slice(0, -MAX_FILES)) await rm(join(folder, name), { force: true })
}

/** The ids of users are UUIDs. */
function ownerOf(userId: string): string {
  return `-of-${userId.replaceAll(/[^\w-]/g, '_')}`
}

/** The files with mail to a user. */
export async function listOutbox(folder: string, userId: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return names.filter((name) => name.endsWith(`${ownerOf(userId)}.eml`))
}

/** Deletes the files with mail to a user. */
export async function eraseOutbox(folder: string, userId: string): Promise<void> {
  for (const name of await listOutbox(folder, userId)) await rm(join(folder, name), { force: true })
}
