/** Mail that is kept in memory. */
import { EventEmitter, once } from 'node:events'
import type { Mail, SendMail } from '../../src/mail/transport.ts'

/** The mail of an app. */
export interface Mailbox {
  readonly sendMail: SendMail
  readonly sent: readonly Mail[]
  /** The newest message to an address whose text matches, as soon as there is one. */
  readonly find: (to: string, text?: RegExp) => Promise<Mail>
  /** The token of the link in {@link Mailbox.find}. */
  readonly tokenTo: (to: string, text?: RegExp) => Promise<string>
}

/** Creates an empty mailbox. */
export function createMailbox(): Mailbox {
  const sent: Mail[] = []
  const arrivals = new EventEmitter()
  const find: Mailbox['find'] = async (to, text = /./) => {
    for (;;) {
      const found = sent.findLast((mail) => mail.to === to && text.test(mail.text))
      if (found !== undefined) return found
      // The timers of jobs do not keep a process alive, so the wait has to.
      const alive = setInterval(() => {}, 1000)
      await once(arrivals, 'mail').finally(() => clearInterval(alive))
    }
  }
  return {
    sent,
    find,
    async sendMail(mail) {
      sent.push(mail)
      arrivals.emit('mail')
    },
    tokenTo: async (to, text = /#token=/) => tokenIn((await find(to, text)).text),
  }
}

/** The token of the link in a text. */
export function tokenIn(text: string): string {
  const token = /#token=(\S+)/.exec(text)?.[1]
  if (token === undefined) throw new Error('the message has no link')
  return token
}
