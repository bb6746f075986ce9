/** `app.privacy`: the operations, put together. */
import type { ConsentBody, ConsentDecision, ConsentPage } from '../consent/consents.ts'
import { createConsentReceipt } from '../consent/consent-receipt.ts'
import { PARAPET_PRIVACY_ANSWER_REFUSED, PARAPET_PRIVACY_REQUEST_EXISTS } from '../errors.ts'
import { eraseSource, reasonOf, signReceipt, withPart } from '../erasure/erase.ts'
import { verifyWebhook } from '../erasure/webhook.ts'
import type { ReceiptKey } from '../identity/receipts.ts'
import { replayLedger, type ReplayReport } from '../ledger/replay.ts'
import { addMonths } from '../requests/deadlines.ts'
import type { HoldBody, HoldPage, HoldRequest } from '../requests/holds.ts'
import type { RequestBody, RequestPart } from '../requests/request.ts'
import { listSweeps, sweep, type SweepReport } from '../retention/sweep.ts'
import { listInventory, type InventoryEntry, type NamedSchema } from '../sources/inventory.ts'
import { lintSources, type Finding } from '../sources/lint.ts'
import { createRegister, type ProcessingRegister } from '../sources/processing-register.ts'
import type { PrivacySource } from '../sources/source.ts'
import { hasConsent, recordConsent } from './consent-changes.ts'
import { callPort, eachInTime, type PrivacyContext } from './context.ts'
import { placeHold, releaseHold } from './officer.ts'
import { openRequest, type NewRequest } from './open-request.ts'
import { erasurePorts } from './run-erasure.ts'

/** The decorator `app.privacy`. */
export interface Privacy {
  /**
   * Registers a source of personal data, until the server is ready.
   *
   * @throws PARAPET_PRIVACY_INVALID_SOURCE
   */
  source(source: PrivacySource): void
  /** What the lint of the registry finds; errors stop the boot. */
  lint(): readonly Finding[]
  /** The register of processing activities. @see GDPR, article 30 */
  register(): ProcessingRegister
  /** Where personal data is stored, by the marks of schemas. */
  inventory(): readonly InventoryEntry[]
  /** Opens a request for a subject whose identity the application has proved. @throws as the route */
  request(request: NewRequest): Promise<RequestBody>
  /** Reads a request. `null`: there is none. */
  findRequest(id: string): Promise<RequestBody | null>
  readonly consents: {
    /** Appends a decision, unless the one in force is the same. @throws as the route */
    record(decision: ConsentDecision): Promise<ConsentBody>
    /** Whether a consent is in force now. Cached for a few seconds. */
    has(subject: string, purpose: string): Promise<boolean>
    /** One page of the decisions of a subject, the latest first. */
    history(subject: string, page?: ConsentPage): Promise<readonly ConsentBody[]>
    /** The receipt of the decision in force; `null`: there is none. @see ISO/IEC TS 27560:2023 */
    receipt(subject: string, purpose: string): Promise<object | null>
  }
  /** Whether the subject has restricted the processing. @see GDPR, article 18 */
  isRestricted(subject: string): Promise<boolean>
  readonly holds: {
    /** Stops the erasures of a subject. */
    place(hold: HoldRequest): Promise<HoldBody>
    /** @returns `null`: there is no such active hold. */
    release(id: string, reason: string): Promise<HoldBody | null>
    /** One page of the holds, the latest first. */
    list(page?: HoldPage): Promise<readonly HoldBody[]>
    isHeld(subject: string): Promise<boolean>
  }
  /** Finds, and unless `dryRun` removes, what is older than its retention period. */
  sweep(options: { readonly dryRun: boolean }): Promise<SweepReport>
  sweeps(): Promise<readonly SweepReport[]>
  /** Erases again what a restore has brought back. It runs before the server is ready. */
  replay(): Promise<ReplayReport>
  /** The key that verifies receipts. */
  readonly publicKey: ReceiptKey
}

/** What the service has besides its operations. */
export interface PrivacyParts {
  readonly context: PrivacyContext
  readonly schemas: readonly NamedSchema[]
  readonly isEncrypted: (schema: Readonly<Record<string, unknown>>) => boolean
  readonly signal: AbortSignal
}

/** Puts the operations together. */
export function createPrivacy(parts: PrivacyParts): Privacy {
  const { context, schemas, isEncrypted } = parts
  const { registry, holds, consents, pseudonyms, records, settings, signer } = context
  const inventory = () => listInventory(registry.all, schemas, isEncrypted)
  return {
    source: (source) => registry.register(source),
    lint: () => lintSources(registry.all, inventory(), settings.forget !== undefined),
    register: () => createRegister(settings.controller, registry.all),
    inventory,
    request: (request) => openRequest(context, request, true),
    findRequest: (id) => context.requests.find(id),
    consents: {
      record: (decision) => recordConsent(context, decision),
      has: (subject, purpose) => hasConsent(context, subject, purpose),
      history: (subject, page) => consents.history(subject, page),
      receipt: (subject, purpose) => receiptOf(context, subject, purpose),
    },
    isRestricted: (subject) => holds.isHeld(pseudonyms.referenceOf(subject), 'restriction'),
    holds: {
      place: (hold) => placeHold(context, hold),
      release: (id, reason) => releaseHold(context, id, reason),
      list: (page) => holds.list(page),
      isHeld: (subject) => holds.isHeld(pseudonyms.referenceOf(subject)),
    },
    sweep: ({ dryRun }) => runSweep(context, dryRun, parts.signal),
    sweeps: () => listSweeps(records),
    replay: () => replay(context, parts.signal),
    publicKey: signer.publicKey,
  }
}

async function receiptOf(
  { consents, settings, pseudonyms, clock }: PrivacyContext,
  subject: string,
  purpose: string,
): Promise<object | null> {
  const declared = consents.purposeOf(purpose)
  const consent = await consents.current(subject, purpose)
  if (consent === null) return null
  const reference = pseudonyms.referenceOf(subject)
  const { controller } = settings
  const createdAt = clock.now()
  return createConsentReceipt({ consent, purpose: declared, controller, reference, createdAt })
}

/** Runs the sweep of every source, and emits what each did. */
export async function runSweep(
  { registry, records, clock, settings, holds, pseudonyms, emit }: PrivacyContext,
  dryRun: boolean,
  signal: AbortSignal,
): Promise<SweepReport> {
  const isHeld = (subject: string) => holds.isHeld(pseudonyms.referenceOf(subject))
  const { partDeadlineMs: deadlineMs } = settings
  const ports = { sources: registry.all, records, clock, deadlineMs, isHeld, reasonOf, signal }
  const report = await sweep(ports, dryRun)
  for (const { source, found, removed } of report.sources) {
    emit('privacy.swept', { source, found, removed, dryRun })
  }
  return report
}

async function replay(context: PrivacyContext, signal: AbortSignal): Promise<ReplayReport> {
  const { ledger, records, pseudonyms, registry, clock, emit, settings } = context
  const ports = erasurePorts(context)
  const sources = registry.all
  const erase = async (id: string, subject: string): Promise<void> => {
    const reference = pseudonyms.referenceOf(subject)
    if (await context.holds.isHeld(reference)) return eraseAfterHold(context, subject)
    for (const source of sources.filter((each) => each.erase !== undefined)) {
      await eraseSource(ports, source, { id, subject, signal })
    }
    const { forget } = settings
    if (forget !== undefined) {
      await callPort(context, 'forget', () => forget(subject, `privacy request ${id}`))
    }
    await planRemoval(context, id, subject)
  }
  const now = () => clock.now()
  const { portDeadlineMs, partDeadlineMs } = settings
  const report = await replayLedger({
    records,
    pseudonyms,
    sources,
    now,
    erase,
    signal,
    lines: () => eachInTime(context, 'The option "ledger"', portDeadlineMs, ledger.read()),
    subjectsOf: ({ name, subjects }) =>
      eachInTime(context, `The source "${name}"`, partDeadlineMs, subjects?.({ signal }) ?? []),
  })
  if (report.entries > 0) emit('privacy.replayed', { ...report })
  return report
}

/** The hold came back with the backup, and wins: a request waits until it is released. */
async function eraseAfterHold(context: PrivacyContext, subject: string): Promise<void> {
  try {
    await openRequest(context, { subject, type: 'erasure' }, true)
  } catch (error) {
    // The backup has the request, too.
    if (!(error instanceof PARAPET_PRIVACY_REQUEST_EXISTS)) throw error
  }
}

/** What was removed after the grace period is back, anonymised again: it is removed once more. */
async function planRemoval(context: PrivacyContext, id: string, subject: string): Promise<void> {
  const { requests, registry, pseudonyms, clock, settings } = context
  if ([...registry.all].every(({ remove }) => remove === undefined)) return
  const at = clock.now()
  const state = 'completed'
  // If the backup has the request, its own course goes on.
  await requests.insert({
    id,
    type: 'erasure',
    state,
    reference: pseudonyms.referenceOf(subject),
    sealed: await requests.seal(id, { subject, details: {} }),
    openedAt: at,
    dueAt: addMonths(at, 1),
    reminded: [],
    parts: [],
    leaseUntil: 0,
    removeAt: at + settings.removeAfterDays * DAY_MS,
    history: [{ at, state, by: 'system', reason: 'erased again after a restore' }],
  })
}

const DAY_MS = 86_400_000

/** The signed answer of a processor. */
export interface ProcessorAnswer {
  readonly name: string
  readonly headers: Readonly<Record<string, unknown>>
  /** As it was received. */
  readonly body: string
}

/** Notes the answer of a processor. @throws PARAPET_PRIVACY_ANSWER_REFUSED */
export async function answerProcessor(
  context: PrivacyContext,
  { name, headers, body }: ProcessorAnswer,
): Promise<void> {
  const { settings, clock, requests } = context
  const processor = settings.processors.find((each) => each.name === name)
  const isSigned = verifyWebhook(headers, body, processor?.secret ?? NO_SECRET, clock.now())
  if (processor === undefined || !isSigned) throw new PARAPET_PRIVACY_ANSWER_REFUSED()
  const { id, status } = readAnswer(body)
  if ((await requests.find(id)) === null) throw new PARAPET_PRIVACY_ANSWER_REFUSED()
  let failed: RequestPart | undefined
  await requests.change(id, (request) => {
    failed = undefined
    const part = request.parts.find((each) => each.kind === 'processor' && each.name === name)
    // An answer that is sent again changes nothing.
    if (part === undefined || part.status === 'done') return null
    const { error: _error, ...rest } = part
    const answered =
      status === 'erased'
        ? { ...rest, status: 'done' as const, at: clock.now() }
        : { ...part, status: 'told' as const, error: 'PROCESSOR_FAILED' }
    if (status === 'failed' && part.error !== 'PROCESSOR_FAILED') failed = answered
    const changed = withPart(request, answered)
    if (changed.receipt === undefined) return changed
    return { ...changed, receipt: signReceipt(erasurePorts(context), changed, clock.now()) }
  })
  if (failed !== undefined) {
    const { attempts, error: reason = 'unknown' } = failed
    context.emit('privacy.erasure_failed', { request: id, part: name, attempts, reason })
  }
}

/** Makes an unknown processor take as long as a known one. */
const NO_SECRET = 'the secret of no processor'

function readAnswer(body: string): { readonly id: string; readonly status: 'erased' | 'failed' } {
  const { id, status } = parseAnswer(body)
  if (typeof id === 'string' && (status === 'erased' || status === 'failed')) return { id, status }
  throw new PARAPET_PRIVACY_ANSWER_REFUSED()
}

function parseAnswer(body: string): { readonly id?: unknown; readonly status?: unknown } {
  try {
    return (JSON.parse(body) as object | null) ?? {}
  } catch {
    return {}
  }
}
