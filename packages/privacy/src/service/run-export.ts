/** Runs the collection of an archive: source by source, part by part. */
import { reasonOf, withPart } from '../erasure/erase.ts'
import { collectSource, noProgress } from '../export/collect.ts'
import { createToken } from '../identity/one-time-token.ts'
import {
  inState,
  withMessage,
  type RequestBody,
  type RequestPart,
  type SourceProgress,
} from '../requests/request.ts'
import type { RegisteredSource } from '../sources/source.ts'
import { endArchive } from './archive-link.ts'
import { jobNames, type PrivacyContext } from './context.ts'
import { release, retryLater } from './lease.ts'
import { dispatchMessages, sealMessage } from './outbox.ts'
import { reportFailure } from './part-failures.ts'

/** After this time an export lets the next job go on. */
const SLICE_MS = 240_000

/** Portability covers what is processed by consent or contract. @see GDPR, article 20(1)(a) */
function sourcesOf({ registry }: PrivacyContext, type: RequestBody['type']): RegisteredSource[] {
  const isPortable = ({ legalBasis }: RegisteredSource) =>
    type === 'access' || legalBasis === 'consent' || legalBasis === 'contract'
  const { all } = registry
  return all.filter((source) => source.collect !== undefined && isPortable(source))
}

/** Collects what is not collected yet. A source that fails is tried again later, and does not stop the others. */
export async function runExport(
  context: PrivacyContext,
  body: RequestBody,
  subject: string,
  signal: AbortSignal,
): Promise<void> {
  const { id, type, leaseUntil } = body
  const { parts, cipher, clock, settings, jobs } = context
  const ports = { parts, cipher, clock, deadlineMs: settings.partDeadlineMs }
  const beganAt = clock.now()
  let [isSliceOver, isOwner, hasFailed] = [false, true, false]
  for (const source of sourcesOf(context, type)) {
    const current = await context.requests.find(id)
    const known = current?.archive?.sources.find(({ name }) => name === source.name)
    const progress = known ?? noProgress(source.name)
    if (progress.isComplete) continue
    const save = async (next: SourceProgress): Promise<boolean> => {
      isOwner = await saveProgress(context, id, leaseUntil, next)
      // Only a source that can go on behind a cursor is interrupted.
      isSliceOver = clock.now() - beganAt > SLICE_MS && source.cursorOf !== undefined
      return isOwner && !(isSliceOver && !next.isComplete)
    }
    try {
      await collectSource(ports, { request: id, subject, source, progress, signal, save })
    } catch (error) {
      if (signal.aborted) throw error
      hasFailed = true
      await noteFailure(context, body, source.name, error)
    }
    if (!isOwner) return
    if (isSliceOver) {
      await release(context, id, leaseUntil)
      await jobs.enqueue(jobNames.run, { id })
      return
    }
  }
  if (hasFailed) return retryLater(context, id)
  await finishExport(context, body, subject)
}

/** A source that has failed is a part of the request, for those who look after it. */
async function noteFailure(
  context: PrivacyContext,
  { id, type, leaseUntil }: RequestBody,
  name: string,
  error: unknown,
): Promise<void> {
  let failed: RequestPart | undefined
  await context.requests.change(id, (body) => {
    const known = body.parts.find((part) => part.name === name)
    const isOwner = body.leaseUntil === leaseUntil && body.state === 'running'
    failed = isOwner
      ? {
          name,
          kind: 'source',
          status: 'failed',
          attempts: (known?.attempts ?? 0) + 1,
          error: reasonOf(error),
        }
      : undefined
    if (failed === undefined) return null
    return known ? withPart(body, failed) : { ...body, parts: [...body.parts, failed] }
  })
  if (failed !== undefined) reportFailure(context, { id, type }, failed, error)
}

/** @returns whether this job still holds the lease. */
async function saveProgress(
  { requests, clock }: PrivacyContext,
  id: string,
  leaseUntil: number,
  next: SourceProgress,
): Promise<boolean> {
  let isOwner = false
  await requests.change(id, (body) => {
    isOwner = body.leaseUntil === leaseUntil && body.state === 'running'
    if (!isOwner) return null
    const sources = body.archive?.sources ?? []
    const others = sources.filter(({ name }) => name !== next.name)
    const parts = next.isComplete ? body.parts.map(recovered(next.name, clock.now())) : body.parts
    return { ...body, parts, archive: { isComplete: false, sources: [...others, next] } }
  })
  return isOwner
}

/** A part that had failed, and has succeeded now. */
function recovered(name: string, at: number): (part: RequestPart) => RequestPart {
  return ({ error, ...part }) =>
    part.name === name ? { ...part, status: 'done', at } : { ...part, ...(error && { error }) }
}

async function finishExport(
  context: PrivacyContext,
  { id, type, leaseUntil }: RequestBody,
  subject: string,
): Promise<void> {
  const { clock, settings, emit } = context
  const expiresAt = clock.now() + settings.archiveTtlMs
  // Where a token proves the identity, its subject may have no login to make a link with.
  const link = settings.verify[type] === 'token' ? createToken(id, expiresAt) : undefined
  const token = link && { token: link.token }
  const ready = { kind: 'ready', subject, type, requestId: id, expiresAt, ...token } as const
  const message = await sealMessage(context, ready)
  let isFinished = false
  const body = await context.requests.change(id, (current) => {
    isFinished = current.leaseUntil === leaseUntil && current.state === 'running'
    if (!isFinished) return null
    const next = inState(current, 'ready', { at: clock.now(), by: 'system' })
    const sources = current.archive?.sources ?? []
    const archive = { sources, isComplete: true, expiresAt, ...(link && { link: link.stored }) }
    return withMessage({ ...next, archive, sealed: null, leaseUntil: 0 }, message)
  })
  if (!isFinished) return
  const sources = body.archive?.sources ?? []
  const sum = (key: 'records' | 'bytes') => sources.reduce((total, each) => total + each[key], 0)
  const totals = { sources: sources.length, records: sum('records'), bytes: sum('bytes') }
  emit('privacy.exported', { request: id, ...totals })
  await dispatchMessages(context, body)
  await endFormerArchives(context, body)
}

const MAX_FORMER = 200

/** One archive of a type is kept: otherwise one subject could fill the storage, request by request. */
async function endFormerArchives(
  context: PrivacyContext,
  { id, type, reference, openedAt }: RequestBody,
): Promise<void> {
  const filter = { owner: reference, topic: 'open', limit: MAX_FORMER } as const
  for (const { body } of await context.requests.list(filter)) {
    const isFormer = body.id !== id && body.type === type && body.openedAt <= openedAt
    if (isFormer && body.state === 'ready') await endArchive(context, body)
  }
}
