/** An app with a login made of headers, a clock that stands still, and an authenticator app. */
import {
  createManualClock,
  generateCipherKey,
  problemErrorHandler,
  type ManualClock,
  type SecurityEvent,
} from '@parapet/kit'
import { mfa, type MfaOptions, type Notice } from '@parapet/mfa'
import Fastify, {
  type FastifyInstance,
  type InjectOptions,
  type LightMyRequestResponse,
} from 'fastify'
import { TOTP } from 'otpauth'
import type { Test } from 'tap'

export interface Built {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly events: SecurityEvent[]
  readonly notices: Notice[]
  /** Asks as a user; the session is `s1` unless told. */
  readonly as: (user: string, request: Request) => Promise<LightMyRequestResponse>
}

export interface Request extends InjectOptions {
  readonly session?: string
  readonly roles?: string
  readonly amr?: string
  readonly ip?: string
}

export const KEYS = generateCipherKey()

/** A bare app whose caller is named by headers. */
export function createApp(t: Test): FastifyInstance {
  const app = Fastify()
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    const header = (name: string) => request.headers[name] as string | undefined
    const id = header('x-user')
    if (id === undefined) return
    const sessionId = header('x-session')
    const amr = header('x-amr')
    request.principal = {
      id,
      roles: header('x-roles')?.split(',') ?? [],
      ...(sessionId === undefined ? undefined : { sessionId }),
      ...(amr === undefined ? undefined : { amr: amr.split(',') }),
    }
  })
  return app
}

export async function build(t: Test, options: Partial<MfaOptions> = {}): Promise<Built> {
  const app = createApp(t)
  const clock = createManualClock()
  const notices: Notice[] = []
  await app.register(mfa, {
    issuer: 'Acme',
    // Each costs a scrypt at every enrolment.
    backupCodes: 4,
    ...(options.cipher === undefined ? { keys: KEYS } : undefined),
    clock,
    notify: (notice) => void notices.push(notice),
    ...options,
  })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const as: Built['as'] = (user, { session = 's1', roles, amr, ip, ...request }) =>
    app.inject({
      ...request,
      ...(ip === undefined ? undefined : { remoteAddress: ip }),
      headers: {
        'x-user': user,
        ...(session === '' ? undefined : { 'x-session': session }),
        ...(roles === undefined ? undefined : { 'x-roles': roles }),
        ...(amr === undefined ? undefined : { 'x-amr': amr }),
        ...request.headers,
      },
    })
  return { app, clock, events, notices, as }
}

/** What an authenticator app shows, on a clock that is `steps` ahead. */
export function codeAt(secret: string, now: number, steps = 0): string {
  return new TOTP({ secret }).generate({ timestamp: now + steps * 30_000 })
}

/** Six digits that none of the next and last five steps has. */
export function wrongCode(secret: string, now: number): string {
  const right = new Set(Array.from({ length: 21 }, (_, i) => codeAt(secret, now, i - 10)))
  for (let value = 0; ; value++) {
    const code = String(value).padStart(6, '0')
    if (!right.has(code)) return code
  }
}

/**
 * Begins with a secret whose codes, and those of `others`, all differ from a quarter of an hour ago to
 * an hour ahead: what a test expects to be refused is not right by chance.
 */
export async function begin(
  { app, clock }: Pick<Built, 'app' | 'clock'>,
  id: string,
  ...others: string[]
) {
  for (;;) {
    const begun = await app.mfa.totp.begin({ id, name: id })
    const codes = [begun.secret, ...others].flatMap((secret) =>
      Array.from({ length: 150 }, (_, i) => codeAt(secret, clock.now(), i - 30)),
    )
    if (new Set(codes).size === codes.length) return begun
  }
}

export interface Enrolled {
  readonly secret: string
  readonly backupCodes: readonly string[]
}

/** Enrols through the API and moves on, so that the next code is a fresh one. */
export async function enrol(
  built: Pick<Built, 'app' | 'clock'>,
  id: string,
  steps = 0,
): Promise<Enrolled> {
  const { app, clock } = built
  const { ticket, secret, backupCodes } = await begin(built, id)
  await app.mfa.totp.confirm(id, ticket, codeAt(secret, clock.now(), steps))
  clock.advance(30_000)
  return { secret, backupCodes }
}

export function post(url: string, payload?: object): Request {
  return { method: 'POST', url, ...(payload === undefined ? undefined : { payload }) }
}
