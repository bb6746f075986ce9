/** Runs an erasure, and after the grace period the removal of what it left. */
import {
  attemptErasure,
  completeErasure,
  partsOfErasure,
  removeErased,
  type ErasurePorts,
} from '../erasure/erase.ts'
import { writeEntry } from '../ledger/ledger.ts'
import { markReplayed } from '../ledger/replay.ts'
import { inState, withMessage, type RequestBody, type RequestPart } from '../requests/request.ts'
import type { RequestSecrets } from '../requests/request-repository.ts'
import { announceErasure } from './announce.ts'
import { callPort, type PrivacyContext } from './context.ts'
import { retryLater } from './lease.ts'
import { emitClosed } from './open-request.ts'
import { dispatchMessages, sealMessage } from './outbox.ts'
import { reportFailure, withoutData } from './part-failures.ts'

const DAY_MS = 86_400_000

/** Attempts what is left of an erasure. */
export async function runErasure(
  context: PrivacyContext,
  body: RequestBody,
  secrets: RequestSecrets,
  signal: AbortSignal,
): Promise<void> {
  const { id, reference, type } = body
  if (await context.holds.isHeld(reference)) return holdErasure(context, body, secrets)
  // Before the first part: afterwards the address of the subject may be gone.
  if (!(await announceErasure(context, body, secrets.subject))) return
  const complete = await withHandles(context, body, secrets)
  const { parts } = await withNewParts(context, id)
  // From here on the erasure is carried out, whatever is restored.
  const entry = { id, reference, at: context.clock.now() }
  await callPort(context, 'ledger', () =>
    context.ledger.append(id, writeEntry(entry, context.pseudonyms)),
  )
  await markReplayed({ ...context, now: context.clock.now }, entry)
  const ports = erasurePorts(context)
  const outcome = await attemptErasure(ports, id, complete, signal)
  if (outcome === 'held') return holdErasure(context, body, secrets)
  if (outcome === 'partial') return retryLater(context, id)
  const count = (kind: string) => parts.filter((part) => part.kind === kind).length
  const counts = { sources: count('source'), processors: count('processor') }
  // The events come first: after a crash they are emitted again, and never lost.
  context.emit('privacy.erased', { request: id, ...counts })
  emitClosed(context, { ...body, state: 'completed' })
  const { subject } = secrets
  const message = await sealMessage(context, { kind: 'completed', subject, type, requestId: id })
  await dispatchMessages(context, await completeErasure(ports, id, message))
}

/** What an erasure needs of the service. */
export function erasurePorts(context: PrivacyContext): ErasurePorts {
  const { requests, holds, registry, pseudonyms, signer, clock, settings, emit, onError } = context
  return {
    requests,
    holds,
    sources: () => registry.all,
    processors: settings.processors,
    forget: settings.forget,
    pseudonyms,
    signer,
    clock,
    deadlineMs: settings.partDeadlineMs,
    issuer: settings.controller.name,
    removeAfterMs: settings.removeAfterDays * DAY_MS,
    backupsKeptMs: settings.backupsKeptDays * DAY_MS,
    onFailed: ({ id }, { name, attempts, error: reason = 'unknown' }, error) => {
      emit('privacy.erasure_failed', { request: id, part: name, attempts, reason })
      onError(withoutData(error), `privacy: the part "${name}" of ${id} failed`)
    },
  }
}

/** Adds what was registered after the request was opened. */
function withNewParts(context: PrivacyContext, id: string): Promise<RequestBody> {
  const { requests, registry, settings } = context
  const all = partsOfErasure(registry.all, settings.processors, settings.forget !== undefined)
  return requests.change(id, (body) => {
    const isNew = ({ name, kind }: RequestPart) =>
      !body.parts.some((part) => part.name === name && part.kind === kind)
    const added = all.filter(isNew)
    return added.length === 0 ? null : { ...body, parts: [...body.parts, ...added] }
  })
}

/** Asks by what names the processors know the subject, before the data that says so is erased. */
async function withHandles(
  context: PrivacyContext,
  { id }: RequestBody,
  secrets: RequestSecrets,
): Promise<RequestSecrets> {
  const { processors } = context.settings
  const { subject, handles: known = {} } = secrets
  const unknown = processors.filter(({ name }) => !Object.hasOwn(known, name))
  if (unknown.length === 0) return secrets
  const handles: Record<string, string | null> = { ...known }
  for (const { name, subjectOf = (own: string) => own } of unknown) {
    handles[name] = await callPort(context, `processors ${name}`, () => subjectOf(subject))
  }
  const complete = { ...secrets, handles }
  const sealed = await context.requests.seal(id, complete)
  await context.requests.change(id, (body) =>
    body.state === 'running' ? { ...body, sealed } : null,
  )
  return complete
}

async function holdErasure(
  context: PrivacyContext,
  { id, type }: RequestBody,
  { subject }: RequestSecrets,
): Promise<void> {
  const step = { at: context.clock.now(), by: 'system', reason: 'legal hold' }
  const message = await sealMessage(context, { kind: 'held', subject, type, requestId: id })
  const body = await context.requests.change(id, (current) =>
    current.state === 'running'
      ? withMessage({ ...inState(current, 'held', step), leaseUntil: 0 }, message)
      : null,
  )
  await dispatchMessages(context, body)
}

/** Removes for good what was anonymised, unless a hold stops it. */
export async function runRemoval(
  context: PrivacyContext,
  { id, reference, type }: RequestBody,
  { subject }: RequestSecrets,
  signal: AbortSignal,
): Promise<void> {
  const erasure = { id, reference, subject, signal }
  const sources = await removeErased(erasurePorts(context), erasure, (part, error) =>
    reportFailure(context, { id, type }, { name: part, attempts: 1 }, error),
  )
  if (sources === null) return
  await context.requests.change(id, ({ removeAt: _done, ...body }) => ({ ...body, sealed: null }))
  context.emit('privacy.removed', { request: id, sources })
}
