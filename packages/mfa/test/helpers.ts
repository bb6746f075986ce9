/** Test apps: the login reads headers, the clock is manual, and handlers mark their responses. */
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
import { Authenticator } from './authenticator.ts'

export interface Built {
  readonly app: FastifyInstance
  readonly clock: ManualClock
  readonly events: SecurityEvent[]
  readonly notices: Notice[]
  /** Sends a request as a user. @default session `s1` */
  readonly as: (user: string, request: Request) => Promise<LightMyRequestResponse>
}

export interface Request extends InjectOptions {
  readonly session?: string
  readonly roles?: string
  readonly amr?: string
  readonly authenticatedAt?: number
  readonly ip?: string
}

export const KEYS = generateCipherKey()

/** An app whose caller is named by headers; its handlers are marked by {@link markHandlers}. */
export function createApp(t: Test): FastifyInstance {
  const app = Fastify()
  t.after(() => app.close())
  app.setErrorHandler(problemErrorHandler)
  markHandlers(app)
  app.decorateRequest('principal', null)
  app.addHook('onRequest', async (request) => {
    const header = (name: string) => request.headers[name] as string | undefined
    const id = header('x-user')
    if (id === undefined) return
    const sessionId = header('x-session')
    const amr = header('x-amr')
    const authenticatedAt = header('x-authenticated-at')
    const actorId = header('x-actor')
    request.principal = {
      id,
      roles: header('x-roles')?.split(',') ?? [],
      ...(sessionId === undefined ? undefined : { sessionId }),
      ...(amr === undefined ? undefined : { amr: amr.split(',') }),
      ...(authenticatedAt === undefined ? undefined : { authenticatedAt: Number(authenticatedAt) }),
      ...(actorId === undefined ? undefined : { actorId }),
    }
  })
  return app
}

const HANDLED = 'x-handler-ran'

/** Marks the responses of the app's own handlers, for {@link outcome}. */
function markHandlers(app: FastifyInstance): void {
  app.addHook('onRoute', (route) => {
    // The plugin's own routes check the session in their handlers.
    if (route.schema?.tags?.includes('mfa') === true) return
    const { handler } = route
    route.handler = function mark(request, reply) {
      reply.header(HANDLED, '1')
      return handler.call(this, request, reply)
    }
  })
}

/**
 * A response in one line: `200`, or `401 STEP_UP_REQUIRED` with the code behind `PARAPET_MFA_`. A
 * refusal after the handler has run says so.
 */
export function outcome(reply: LightMyRequestResponse): string {
  const { statusCode, headers } = reply
  const handled = headers[HANDLED] !== undefined
  if (statusCode < 400) return String(statusCode)
  if (reply.body === '') return `${statusCode} without body`
  const { code = 'no code' } = reply.json<{ code?: string }>()
  const text = `${statusCode} ${code.replace('PARAPET_MFA_', '')}`
  return handled ? `${text}, but the handler ran` : text
}

export async function build(t: Test, options: Partial<MfaOptions> = {}): Promise<Built> {
  const app = createApp(t)
  const clock = createManualClock()
  const notices: Notice[] = []
  await app.register(mfa, {
    issuer: 'Acme',
    // Each code costs a scrypt run at every enrolment.
    backupCodes: 4,
    ...(options.cipher === undefined ? { keys: KEYS } : undefined),
    clock,
    notify: (notice) => void notices.push(notice),
    ...options,
  })
  const events: SecurityEvent[] = []
  app.securityEvents.on('*', (event) => void events.push(event))
  const as: Built['as'] = (user, given) => {
    const { session = 's1', roles, amr, authenticatedAt, ip, ...request } = given
    return app.inject({
      ...request,
      ...(ip === undefined ? undefined : { remoteAddress: ip }),
      headers: {
        'x-user': user,
        ...(session === '' ? undefined : { 'x-session': session }),
        ...(roles === undefined ? undefined : { 'x-roles': roles }),
        ...(amr === undefined ? undefined : { 'x-amr': amr }),
        ...(authenticatedAt === undefined
          ? undefined
          : { 'x-authenticated-at': String(authenticatedAt) }),
        ...request.headers,
      },
    })
  }
  return { app, clock, events, notices, as }
}

/** The code of an authenticator app whose clock is `steps` ahead. */
export function codeAt(secret: string, now: number, steps = 0): string {
  return new TOTP({ secret }).generate({ timestamp: now + steps * 30_000 })
}

/** Six digits that are the code of none of the ten steps before and after. */
export function wrongCode(secret: string, now: number): string {
  const right = new Set(Array.from({ length: 21 }, (_, i) => codeAt(secret, now, i - 10)))
  for (let value = 0; ; value++) {
    const code = String(value).padStart(6, '0')
    if (!right.has(code)) return code
  }
}

/**
 * Begins an enrolment with a secret whose codes, and those of `others`, all differ from a quarter of an
 * hour ago to an hour ahead, so that no code is right by chance.
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

/** Enrols an app through the API and advances the clock, so that the next code is unused. */
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

/** Enrols a passkey through the API. */
export async function enrolPasskey(
  { app }: Pick<Built, 'app'>,
  user: string,
  device = new Authenticator(),
): Promise<Authenticator> {
  const options = await app.mfa.passkeys.registrationOptions({ id: user, name: user })
  device.userHandle = options.user.id
  await app.mfa.passkeys.register(user, device.create({ challenge: options.challenge }), 'Laptop')
  return device
}

/** A challenge for a user; `null`: for a login with any passkey. */
export async function challengeFor(
  { app }: Pick<Built, 'app'>,
  user: string | null,
): Promise<string> {
  return (await app.mfa.passkeys.assertionOptions(user)).challenge
}
