/** The options of `@parapet/privacy`: who asks and decides, the purposes, and where keys and ledger are. */
import { join } from 'node:path'
import { generateCipherKey, systemClock, type Jobs } from '@parapet/kit'
import { createFileLedger, type PrivacyOptions } from '@parapet/privacy'
import { generateSecret, PARAPET_SESSIONS_IMPERSONATED } from '@parapet/sessions'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import type { Ports } from '../app.ts'
import type { Config } from '../config/environment.ts'
import { createPrivacyMail } from '../mail/privacy-messages.ts'
import { createSendMail } from '../mail/transport.ts'
import { isAuditSealed } from './audit-log.ts'
import { inApi, API } from '../http/api.ts'
import { purposes } from '../privacy/purposes.ts'
import { createSources } from '../privacy/sources.ts'

/** A fresh login proves the identity, with a second factor if there is one: no request waits for a mail. */
const byLogin = {
  access: 'step-up',
  portability: 'step-up',
  rectification: 'step-up',
  restriction: 'step-up',
  objection: 'step-up',
  erasure: 'step-up',
} as const satisfies PrivacyOptions['verify']

/** How fresh a login must be for a request about the own data. */
const MAX_LOGIN_AGE_MS = 900_000

/** Creates the options. */
export function createPrivacyOptions(
  app: FastifyInstance,
  config: Config,
  { clock = systemClock, deliver, sendMail = createSendMail(config) }: Ports,
): PrivacyOptions {
  const accounts = createAccountFinder(app)
  const { jobs } = app as { readonly jobs?: Jobs }
  const { privacyLedgerDir: folder } = config
  return {
    controller: { name: new URL(config.publicUrl).host, contact: `${config.publicUrl}/` },
    ...createKeys(app, config),
    sql: app.sql,
    store: app.store,
    ...(jobs && { jobs }),
    ...(folder !== undefined && { ledger: createFileLedger(join(folder, 'erasures.jsonl')) }),
    sources: createSources(app, config, isAuditSealed(config)),
    purposes,
    // mfa has refused a request of an account with a second factor that is not fresh, see below.
    stepUp: (_request, { authenticatedAt = 0 }) =>
      clock.now() - authenticatedAt <= MAX_LOGIN_AGE_MS,
    ...(deliver === undefined
      ? { deliver: createPrivacyMail(app.sql, sendMail, config.publicUrl), verify: byLogin }
      : { deliver }),
    findSubject: accounts,
    officer: (request) => request.rbac.can('privacy:manage'),
    prefix: `${API}/privacy`,
    // Jobs poll for ever, so their timers are those of the machine.
    clock: { ...systemClock, now: () => clock.now() },
  }
}

function createAccountFinder(app: FastifyInstance): (contact: string) => Promise<string | null> {
  const text = 'SELECT id::text AS id FROM users WHERE lower(email COLLATE "C") = lower($1)'
  return async (contact) =>
    (await app.sql.query<{ id: string }>(text, [contact])).rows[0]?.id ?? null
}

function createKeys(
  app: FastifyInstance,
  { privacyKeys, privacySecret }: Config,
): Pick<PrivacyOptions, 'keys' | 'secret'> {
  if (privacyKeys === undefined || privacySecret === undefined) {
    app.log.warn(
      'privacy uses keys of this process; requests and consents are lost on restart. Set ' +
        'PRIVACY_KEYS and PRIVACY_SECRET.',
    )
  }
  return { keys: privacyKeys ?? generateCipherKey(), secret: privacySecret ?? generateSecret() }
}

/** Shorter than the rule of operators: these routes give out or erase everything about a person. */
const fresherFactor = { maxAgeSeconds: 300, ifEnrolled: true } as const

/** Routes of the plugin that need a fresh second factor. */
const stronger: Readonly<Record<string, typeof fresherFactor>> = inApi({
  'POST /privacy/requests': fresherFactor,
  'POST /privacy/requests/:id/link': fresherFactor,
  'POST /privacy/admin/requests/:id/approve': fresherFactor,
  'POST /privacy/admin/requests/:id/reject': fresherFactor,
  'POST /privacy/admin/requests/:id/extend': fresherFactor,
  'POST /privacy/admin/requests/:id/retry': fresherFactor,
  'POST /privacy/admin/sweeps': fresherFactor,
  'POST /privacy/admin/holds': fresherFactor,
  'POST /privacy/admin/holds/:id/release': fresherFactor,
})

const ofThePerson = new RegExp(`^${API}/privacy/(?:consents|requests)(?:/|$)`)

/** An operator who acts as a user does not consent, and asks for nothing, in the name of that person. */
async function requirePerson({ principal }: FastifyRequest): Promise<void> {
  if (principal?.actorId !== undefined) throw new PARAPET_SESSIONS_IMPERSONATED()
}

/** Gives routes of the plugin a rule of mfa. Call it before mfa is registered. */
export function strengthenPrivacyRoutes(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    const mfa = stronger[`${String(route.method)} ${route.url}`]
    if (mfa !== undefined) route.config = { ...route.config, mfa }
    if (ofThePerson.test(route.url) && route.method !== 'GET') {
      route.preHandler = [requirePerson, ...[route.preHandler ?? []].flat()]
    }
  })
}
