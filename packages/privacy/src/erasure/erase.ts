/** Runs an erasure: part by part, each one recorded as it ends, so that any attempt goes on where the last one stopped. */
import type { Clock } from '@parapet/kit'
import { bounded } from '../bounded-call.ts'
import { PARAPET_PRIVACY_FAILED } from '../errors.ts'
import type { Pseudonyms } from '../identity/pseudonyms.ts'
import type { PrivacyReceipt, ReceiptSigner } from '../identity/receipts.ts'
import type { Holds } from '../requests/holds.ts'
import {
  inState,
  withMessage,
  type PendingMessage,
  type RequestBody,
  type RequestPart,
} from '../requests/request.ts'
import type { RequestRepository, RequestSecrets } from '../requests/request-repository.ts'
import { planErasure, retainedFields } from '../sources/plan.ts'
import type { RegisteredSource } from '../sources/source.ts'
import { tellProcessor, type Processor } from './processor.ts'

/** Destroys the keys of a subject, so that what they encrypt is unreadable. It may be called again. */
export type ForgetKeys = (subject: string, reason: string) => Promise<unknown>

/** What an erasure needs. */
export interface ErasurePorts {
  readonly requests: RequestRepository
  readonly holds: Holds
  readonly sources: () => readonly RegisteredSource[]
  readonly processors: readonly Processor[]
  readonly forget: ForgetKeys | undefined
  readonly pseudonyms: Pseudonyms
  readonly signer: ReceiptSigner
  readonly clock: Clock
  /** How long one part may take. */
  readonly deadlineMs: number
  readonly issuer: string
  readonly removeAfterMs: number
  readonly backupsKeptMs: number
  /** Reports a part that failed. */
  readonly onFailed: (body: RequestBody, part: RequestPart, error: unknown) => void
}

/** How an attempt ended; `erased`: every part is settled, and {@link completeErasure} is next. */
export type ErasureOutcome = 'erased' | 'held' | 'partial'

const HELD = Symbol('held')

/** The parts of an erasure, in the order in which they run: processors, sources, keys. */
export function partsOfErasure(
  sources: readonly RegisteredSource[],
  processors: readonly Processor[],
  hasForget: boolean,
): RequestPart[] {
  return [
    ...processors.map(({ name }) => name).map(pending('processor')),
    ...sources
      .filter(({ erase }) => erase !== undefined)
      .map(({ name }) => name)
      .map(pending('source')),
    ...(hasForget ? ['keys'] : []).map(pending('keys')),
  ]
}

function pending(kind: RequestPart['kind']): (name: string) => RequestPart {
  return (name) => ({ name, kind, status: 'pending', attempts: 0 })
}

/** Whether nothing is left to do for a part. */
export function isSettled({ status }: RequestPart): boolean {
  return status === 'done' || status === 'told'
}

/** Attempts every part that is not settled. One that fails does not stop the others. */
export async function attemptErasure(
  ports: ErasurePorts,
  id: string,
  secrets: RequestSecrets,
  signal: AbortSignal,
): Promise<ErasureOutcome> {
  const { requests } = ports
  for (const { name, kind } of (await requests.find(id))!.parts) {
    const body = (await requests.find(id))!
    const part = body.parts.find((each) => each.name === name && each.kind === kind)!
    if (isSettled(part)) continue
    signal.throwIfAborted()
    if ((await attemptPart(ports, body, part, { secrets, signal })) === HELD) return 'held'
  }
  const { parts } = (await requests.find(id))!
  return parts.every(isSettled) ? 'erased' : 'partial'
}

interface Attempt {
  readonly secrets: RequestSecrets
  readonly signal: AbortSignal
}

async function attemptPart(
  ports: ErasurePorts,
  body: RequestBody,
  part: RequestPart,
  attempt: Attempt,
): Promise<typeof HELD | undefined> {
  const { requests, holds, clock } = ports
  // Right before each part: a hold that is placed during an erasure stops the rest of it.
  if (await holds.isHeld(body.reference)) return HELD
  const attempts = part.attempts + 1
  try {
    const result = await runPart(ports, body, part, attempt)
    const { error: _former, ...rest } = part
    const done = { ...rest, ...result, attempts, at: clock.now() }
    await requests.change(body.id, (current) => withUnanswered(current, done))
  } catch (error) {
    if (attempt.signal.aborted) throw error
    const failed: RequestPart = { ...part, status: 'failed', attempts, error: reasonOf(error) }
    const { parts } = await requests.change(body.id, (current) => withUnanswered(current, failed))
    if (parts.includes(failed)) ports.onFailed(body, failed, error)
  }
  return undefined
}

/** A processor may have answered before the notice was through: then its part is done already. */
function withUnanswered(body: RequestBody, part: RequestPart): RequestBody | null {
  const current = body.parts.find(({ name, kind }) => name === part.name && kind === part.kind)
  return current?.status === 'done' ? null : withPart(body, part)
}

async function runPart(
  ports: ErasurePorts,
  { id }: RequestBody,
  { name, kind }: RequestPart,
  { secrets, signal }: Attempt,
): Promise<Pick<RequestPart, 'status' | 'retained'>> {
  const { subject, handles = {} } = secrets
  if (kind === 'keys') {
    const forget = ports.forget!
    await bounded(ports, 'The port "forget"', signal, () =>
      forget(subject, `privacy request ${id}`),
    )
    return { status: 'done' }
  }
  if (kind === 'source') {
    const source = requireNamed(ports.sources(), name)
    const retained = await eraseSource(ports, source, { id, subject, signal })
    return { status: 'done', ...(retained.length > 0 && { retained }) }
  }
  const handle = handles[name] ?? null
  // The processor does not know the subject.
  if (handle === null) return { status: 'done' }
  const notice = { type: 'privacy.erasure', id, subject: handle } as const
  const { clock, deadlineMs } = ports
  const limits = { now: clock.now(), deadlineMs, signal }
  return { status: await tellProcessor(requireNamed(ports.processors, name), notice, limits) }
}

/** Which subject to erase, and the request that gives the replacements their values. */
export interface SourceErasure {
  readonly id: string
  readonly subject: string
  readonly signal: AbortSignal
}

type SourcePorts = Pick<ErasurePorts, 'pseudonyms' | 'clock' | 'deadlineMs'>

/** Erases one source, and asks it what is left. @returns what can no longer be erased. */
export async function eraseSource(
  ports: SourcePorts,
  source: RegisteredSource,
  { id, subject, signal }: SourceErasure,
): Promise<NonNullable<RequestPart['retained']>> {
  const plan = planErasure(source, { request: id, subject }, ports.pseudonyms)
  const name = `The source "${source.name}"`
  const { erase, verifyErased } = source
  await bounded(ports, name, signal, (own) => erase!(subject, plan, { signal: own }))
  if (verifyErased === undefined) return []
  const { remaining, retained = {} } = await bounded(ports, name, signal, (own) =>
    verifyErased(subject, plan, { signal: own }),
  )
  if (remaining !== 0) throw new LeftoverError()
  return Object.entries(retained).map(([field, basis]) => ({ field, basis }))
}

/**
 * Removes for good what the erasure left anonymised. A source that fails does not stop the others.
 *
 * @returns how many sources did so; `null`: a legal hold stopped the rest.
 * @throws PARAPET_PRIVACY_FAILED
 */
export async function removeErased(
  ports: Pick<ErasurePorts, 'sources' | 'holds'> & SourcePorts,
  { id, reference, subject, signal }: SourceErasure & { readonly reference: string },
  onFailed: (source: string, error: unknown) => void,
): Promise<number | null> {
  const sources = ports.sources().filter(({ remove }) => remove !== undefined)
  const failed: string[] = []
  for (const source of sources) {
    signal.throwIfAborted()
    if (await ports.holds.isHeld(reference)) return null
    const plan = planErasure(source, { request: id, subject }, ports.pseudonyms)
    try {
      const remove = source.remove!
      await bounded(ports, `The source "${source.name}"`, signal, (own) =>
        remove(subject, plan, { signal: own }),
      )
    } catch (error) {
      if (signal.aborted) throw error
      failed.push(source.name)
      onFailed(source.name, error)
    }
  }
  if (failed.length > 0) throw new PARAPET_PRIVACY_FAILED('The removal', failed.join(', '))
  return sources.length
}

class LeftoverError extends Error {
  readonly code = 'DATA_LEFT'
}

/** Closes an erasure whose parts are all settled, and signs its receipt. @param message about that, to the subject */
export function completeErasure(
  ports: ErasurePorts,
  id: string,
  message?: PendingMessage,
): Promise<RequestBody> {
  const { requests, clock, removeAfterMs } = ports
  const removes = ports.sources().some(({ remove }) => remove !== undefined)
  return requests.change(id, (body) => {
    if (body.state !== 'running') return null
    const at = clock.now()
    const closed = inState(body, 'completed', { at, by: 'system' })
    const receipt = signReceipt(ports, closed, at)
    const rest = removes ? { removeAt: at + removeAfterMs } : { sealed: null }
    return withMessage({ ...closed, receipt, leaseUntil: 0, ...rest }, message)
  })
}

/** Signs what was done. @param at milliseconds since the Unix epoch */
export function signReceipt(
  { signer, issuer, sources, backupsKeptMs }: ErasurePorts,
  { id, reference, parts }: RequestBody,
  at: number,
): string {
  const bySource = new Map(sources().map((source) => [source.name, source]))
  // Sources that only retain have no part in the erasure, and are named nevertheless.
  const retaining = sources()
    .filter(({ erase }) => erase === undefined)
    .map(({ name }) => ({ name, kind: 'source', at }) as const)
    .filter(({ name }) => retainedFields(bySource.get(name)!).length > 0)
  const receipt: PrivacyReceipt = {
    jti: id,
    iss: issuer,
    sub: reference,
    iat: seconds(at),
    parts: [...parts, ...retaining].map((part) => ({
      name: part.name,
      kind: part.kind,
      outcome: 'status' in part && part.status === 'told' ? 'told' : 'erased',
      retained: [
        ...(part.kind === 'source' ? retainedFields(bySource.get(part.name) ?? NO_FIELDS) : []),
        ...('retained' in part ? (part.retained ?? []) : []),
      ],
      at: seconds(part.at ?? at),
    })),
    backupsUntil: seconds(at + backupsKeptMs),
  }
  return signer.sign(receipt)
}

function seconds(ms: number): number {
  return Math.floor(ms / 1000)
}

const NO_FIELDS = { fields: {} }

/** Replaces one part of a request. */
export function withPart(body: RequestBody, part: RequestPart): RequestBody {
  const isSame = (each: RequestPart) => each.name === part.name && each.kind === part.kind
  return { ...body, parts: body.parts.map((each) => (isSame(each) ? part : each)) }
}

function requireNamed<T extends { readonly name: string }>(all: readonly T[], name: string): T {
  const found = all.find((each) => each.name === name)
  // It was removed from the registry while the request was open.
  if (found === undefined) throw Object.assign(new Error('unknown part'), { code: 'PART_UNKNOWN' })
  return found
}

/** A code or a name: a message may quote personal data. */
export function reasonOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { readonly code?: unknown; readonly name?: unknown }
  const text = [code, name].find((each) => typeof each === 'string') ?? 'unknown'
  return /^[\w.:-]{1,64}$/.test(text) ? text : 'unknown'
}
