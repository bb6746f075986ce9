/** Warns of what a date will end: security.txt and waivers. Checked at boot and then once a day. */
import type { Clock, SecurityEvents } from '@parapet/kit'
import type { FastifyInstance } from 'fastify'
import { findAgedWaivers } from '../lint/waivers.ts'
import type { Waiver } from '../policy/policy.ts'
import { daysUntilExpiry, type SecurityTxt } from '../reports/security-txt.ts'

const DAY_MS = 86_400_000
/** From this many days before the expiry, an event is emitted every day. */
const WARNING_DAYS = 30

/** What is checked. */
interface Dated {
  readonly securityTxt: SecurityTxt | undefined
  readonly clock: Clock
}

/** Adds the check. @param waivers called when the app is ready. */
export function watchExpiry(
  app: FastifyInstance,
  { securityTxt, clock }: Dated,
  waivers: () => readonly Waiver[],
  securityEvents: SecurityEvents,
): void {
  let cancel: (() => void) | undefined
  const check = (): void => {
    if (securityTxt !== undefined) checkFile(securityTxt)
    for (const details of findAgedWaivers(waivers(), clock.now())) {
      securityEvents.emit('security_headers.waiver_aged', { details })
      const { rule, until, daysLeft } = details
      if (daysLeft < 0) {
        app.log.error(
          `@parapet/security-headers: the waiver of ${rule} has expired on ${until}. From the 30th day on, the app does not start. Fix what it waives, or set a new date`,
        )
      }
    }
  }
  const checkFile = (file: SecurityTxt): void => {
    const daysLeft = daysUntilExpiry(file, clock.now())
    if (daysLeft > WARNING_DAYS) return
    const details = { expires: file.expires, daysLeft }
    securityEvents.emit('security_headers.security_txt_aged', { details })
    if (daysLeft < 0) {
      app.log.error(
        `@parapet/security-headers: security.txt has expired on ${file.expires}. Review it, and set a later "securityTxt.expires"`,
      )
    }
  }
  const checkDaily = (): void => {
    check()
    cancel = clock.schedule(DAY_MS, checkDaily)
  }
  app.addHook('onReady', async () => {
    if (securityTxt !== undefined || waivers().length > 0) checkDaily()
  })
  app.addHook('onClose', async () => cancel?.())
}
