/** Opens, confirms and withdraws requests of subjects. */
import { uuidV7 } from '@parapet/kit'
import {
  PARAPET_PRIVACY_CONFLICT,
  PARAPET_PRIVACY_INVALID_ARGUMENT,
  PARAPET_PRIVACY_NOT_FOUND,
  PARAPET_PRIVACY_REQUEST_EXISTS,
  PARAPET_PRIVACY_TOKEN_REFUSED,
  PARAPET_PRIVACY_TOO_MANY_REQUESTS,
} from '../errors.ts'
import { partsOfErasure } from '../erasure/erase.ts'
import { createToken, matchesToken, parseToken } from '../identity/one-time-token.ts'
import { addMonths } from '../requests/deadlines.ts'
import {
  inState,
  mayFollow,
  type RequestBody,
  type RequestDetails,
  type RequestPart,
  type RequestType,
} from '../requests/request.ts'
import { retryLater } from '../retry-later.ts'
import { callPort, jobNames, tell, type PrivacyContext } from './context.ts'

/** A request to open. */
export interface NewRequest {
  readonly subject: string
  readonly type: RequestType
  readonly details?: RequestDetails
}

/** The context of the seal of a contact in a job. */
const CONTACT = ['privacy', 'contact']
/** How often anybody can make a subject get the message `login`, so that nobody can flood a mailbox. */
const LOGIN_MESSAGE_MS = 3_600_000
const DAY_MS = 86_400_000

/**
 * Opens a request. Where the type needs a token, it waits for its confirmation; otherwise it starts.
 *
 * @param isConfirmed the identity was proved already. @param http a Fastify request, for the event
 * @throws PARAPET_PRIVACY_REQUEST_EXISTS, PARAPET_PRIVACY_INVALID_ARGUMENT, PARAPET_PRIVACY_TOO_MANY_REQUESTS
 */
export async function openRequest(
  context: PrivacyContext,
  { subject, type, details = {} }: NewRequest,
  isConfirmed: boolean,
  http?: unknown,
): Promise<RequestBody> {
  const { requests, clock, settings } = context
  requireDetails(context, type, details)
  const id = uuidV7()
  const at = clock.now()
  if (!isConfirmed) await requireFew(context, subject)
  const verifying: RequestBody = {
    id,
    type,
    state: 'verifying',
    reference: context.pseudonyms.referenceOf(subject),
    sealed: await requests.seal(id, { subject, details }),
    openedAt: at,
    dueAt: addMonths(at, 1),
    reminded: [],
    parts: partsOf(context, type, details),
    leaseUntil: 0,
    history: [{ at, state: 'verifying', by: 'subject' }],
  }
  if (isConfirmed || settings.verify[type] === 'step-up') {
    const body = started(context, verifying, 'subject')
    if (!(await requests.insert(body))) throw new PARAPET_PRIVACY_REQUEST_EXISTS()
    await begin(context, body, http)
    return body
  }
  const { token, stored } = createToken(id, at + settings.confirmationTtlMs)
  const body = { ...verifying, confirmation: stored }
  await removeUndelivered(context, verifying)
  if (!(await requests.insert(body))) throw new PARAPET_PRIVACY_REQUEST_EXISTS()
  const message = { kind: 'confirm', subject, type, requestId: id, token } as const
  try {
    await callPort(context, 'deliver', () =>
      settings.deliver!({ ...message, expiresAt: stored.expiresAt }),
    )
  } catch (error) {
    // Otherwise a request that nobody can confirm would refuse the next one.
    await requests.remove(id)
    throw error
  }
  await requests.change(id, (current) => ({ ...current, isDelivered: true }))
  return body
}

/** A request may be withdrawn and opened again, and each one is kept. @throws PARAPET_PRIVACY_TOO_MANY_REQUESTS */
async function requireFew(
  { requests, pseudonyms, clock, settings }: PrivacyContext,
  subject: string,
): Promise<void> {
  const { requestsPerDay: limit } = settings
  const latest = await requests.list({ owner: pseudonyms.referenceOf(subject), limit })
  const waitMs = (latest[limit - 1]?.time ?? -Infinity) + DAY_MS - clock.now()
  if (waitMs > 0) throw retryLater(waitMs)
}

/** A process that was killed before it sent the token leaves a request that nobody can confirm. */
async function removeUndelivered(
  { requests, settings }: PrivacyContext,
  { reference, type, openedAt }: RequestBody,
): Promise<void> {
  for await (const body of requests.of(reference)) {
    const waits = body.type === type && body.state === 'verifying' && body.isDelivered !== true
    // Before that, its message may be on the way.
    if (waits && openedAt - body.openedAt > settings.portDeadlineMs) await requests.remove(body.id)
  }
}

/**
 * Accepts a request for the subject with this contact. It does the same work if there is none: all that
 * depends on it happens in a job.
 */
export async function requestByContact(
  { cipher, jobs }: PrivacyContext,
  type: RequestType,
  contact: string,
): Promise<void> {
  await jobs.enqueue(jobNames.identify, {
    type,
    sealed: await cipher.seal(JSON.stringify(contact), CONTACT),
  })
}

/** The job behind {@link requestByContact}. */
export async function identify(
  context: PrivacyContext,
  { type, sealed }: { readonly type: RequestType; readonly sealed: string },
): Promise<void> {
  const { cipher, settings, clock, pseudonyms } = context
  const { findSubject, deliver, verify } = settings
  if (findSubject === undefined || deliver === undefined) return
  const contact = JSON.parse((await cipher.open(sealed, CONTACT)).toString()) as string
  const subject = await callPort(context, 'findSubject', () => findSubject(contact))
  if (typeof subject !== 'string' || subject === '') return
  // A second factor can only be shown by a session.
  if (verify[type] !== 'token' || type === 'rectification' || type === 'objection') {
    // By the subject: one contact can be written in many ways.
    const window = Math.floor(clock.now() / LOGIN_MESSAGE_MS)
    const key = `login:${pseudonyms.referenceOf(subject)}:${window}`
    return tell(context, { kind: 'login', subject, type }, key)
  }
  try {
    await openRequest(context, { subject, type }, false)
  } catch (error) {
    // The subject knows of its requests; the caller must not learn of them.
    if (error instanceof PARAPET_PRIVACY_REQUEST_EXISTS) return
    if (!(error instanceof PARAPET_PRIVACY_TOO_MANY_REQUESTS)) throw error
  }
}

/**
 * Confirms a request by its token, which works once.
 *
 * @throws PARAPET_PRIVACY_TOKEN_REFUSED wrong, used or expired
 */
export async function confirmRequest(
  context: PrivacyContext,
  token: string,
  http?: unknown,
): Promise<RequestBody> {
  const parsed = parseToken(token)
  const found = parsed === null ? null : await context.requests.find(parsed.id)
  const isKnown = matchesToken(parsed?.secret ?? '', found?.confirmation)
  if (!isKnown || found === null) throw new PARAPET_PRIVACY_TOKEN_REFUSED()
  const body = await context.requests.change(found.id, (current) => {
    const { confirmation, state } = current
    const isFresh = confirmation !== undefined && confirmation.expiresAt > context.clock.now()
    if (state !== 'verifying' || !isFresh || !matchesToken(parsed!.secret, confirmation)) {
      throw new PARAPET_PRIVACY_TOKEN_REFUSED()
    }
    const { confirmation: _used, ...rest } = started(context, current, 'subject')
    return rest
  })
  await begin(context, body, http)
  return body
}

/** @throws PARAPET_PRIVACY_NOT_FOUND it is of another subject; PARAPET_PRIVACY_CONFLICT it has begun. */
export async function withdrawRequest(
  context: PrivacyContext,
  subject: string,
  id: string,
  http?: unknown,
): Promise<RequestBody> {
  await requireOwn(context, subject, id)
  const body = await context.requests.change(id, (current) => {
    if (!mayFollow(current.state, 'withdrawn')) throw new PARAPET_PRIVACY_CONFLICT(current.state)
    const step = { at: context.clock.now(), by: 'subject' }
    return { ...inState(current, 'withdrawn', step), sealed: null }
  })
  emitClosed(context, body, http)
  return body
}

/** Reads a request of a subject. @throws PARAPET_PRIVACY_NOT_FOUND also where it is of another one */
export async function requireOwn(
  { requests, pseudonyms }: Pick<PrivacyContext, 'requests' | 'pseudonyms'>,
  subject: string,
  id: string,
): Promise<RequestBody> {
  const body = await requests.find(id)
  if (body === null || body.reference !== pseudonyms.referenceOf(subject)) {
    throw new PARAPET_PRIVACY_NOT_FOUND()
  }
  return body
}

/** Emits the event of a request that ended. */
export function emitClosed(
  { emit }: Pick<PrivacyContext, 'emit'>,
  { id, type, state }: RequestBody,
  http?: unknown,
): void {
  emit('privacy.request_closed', { request: id, type, state }, http)
}

/** Waits for an officer, or runs. */
function started({ settings, clock }: PrivacyContext, body: RequestBody, by: string): RequestBody {
  const state = settings.approve.includes(body.type) ? 'open' : 'running'
  return inState(body, state, { at: clock.now(), by })
}

async function begin(context: PrivacyContext, body: RequestBody, http: unknown): Promise<void> {
  const { id, type, dueAt, state } = body
  context.emit('privacy.request_opened', { request: id, type, dueAt }, http)
  if (state === 'running') await context.jobs.enqueue(jobNames.run, { id })
}

function partsOf(
  { registry, settings }: PrivacyContext,
  type: RequestType,
  { changes = {} }: RequestDetails,
): readonly RequestPart[] {
  if (type === 'erasure') {
    return partsOfErasure(registry.all, settings.processors, settings.forget !== undefined)
  }
  if (type !== 'rectification') return []
  const part = { kind: 'source', status: 'pending', attempts: 0 } as const
  return Object.keys(changes).map((name) => ({ ...part, name }))
}

function requireDetails(
  { registry, settings }: PrivacyContext,
  type: RequestType,
  { changes = {}, purposes = [] }: RequestDetails,
): void {
  const sources = Object.entries(changes)
  if (type === 'rectification' && sources.length === 0) refuse('"changes"', 'must not be empty')
  if (type !== 'rectification' && sources.length > 0) refuse('"changes"', 'do not belong here')
  for (const [name, fields] of sources) {
    const source = registry.find(name)
    if (source?.rectify === undefined) refuse('"changes"', 'name a source that cannot be corrected')
    const unknown = Object.keys(fields).some((field) => !Object.hasOwn(source.fields, field))
    if (unknown || Object.keys(fields).length === 0) refuse('"changes"', 'name an unknown field')
  }
  if (type === 'objection' && purposes.length === 0) refuse('"purposes"', 'must not be empty')
  if (purposes.some((name) => !Object.hasOwn(settings.purposes, name))) {
    refuse('"purposes"', 'name an unknown purpose')
  }
}

function refuse(name: string, problem: string): never {
  throw new PARAPET_PRIVACY_INVALID_ARGUMENT(name, problem)
}
