/** Links to archives: each one works once, and the archive expires. */
import type { Readable } from 'node:stream'
import {
  PARAPET_PRIVACY_ARCHIVE_EXPIRED,
  PARAPET_PRIVACY_CONFLICT,
  PARAPET_PRIVACY_LINK_USED,
  PARAPET_PRIVACY_NOT_FOUND,
} from '../errors.ts'
import { writeArchive } from '../export/archive.ts'
import { createToken, matchesToken, parseToken } from '../identity/one-time-token.ts'
import { inState, type ArchiveProgress, type RequestBody } from '../requests/request.ts'
import type { PrivacyContext } from './context.ts'
import { emitClosed, requireOwn } from './open-request.ts'

/** A link, as the subject gets it. */
export interface ArchiveLink {
  /** A secret: it goes into the body of `POST /privacy/archives`, never into a URL. */
  readonly link: string
  /** When the archive is deleted, in milliseconds since the Unix epoch. */
  readonly expiresAt: number
}

/** An archive that is being sent. */
export interface OpenArchive {
  readonly request: string
  readonly stream: Readable
}

/**
 * Makes a link to an archive; a former one no longer works.
 *
 * @throws PARAPET_PRIVACY_NOT_FOUND, PARAPET_PRIVACY_CONFLICT the archive is not ready,
 *   PARAPET_PRIVACY_ARCHIVE_EXPIRED
 */
export async function createLink(
  context: PrivacyContext,
  subject: string,
  id: string,
): Promise<ArchiveLink> {
  await requireOwn(context, subject, id)
  let created: ArchiveLink | undefined
  await context.requests.change(id, (body) => {
    const archive = requireArchive(context, body)
    const { token, stored } = createToken(id, archive.expiresAt!)
    created = { link: token, expiresAt: archive.expiresAt! }
    return { ...body, archive: { ...archive, link: stored } }
  })
  return created!
}

/**
 * Opens the archive of a link, and uses the link up.
 *
 * @throws PARAPET_PRIVACY_NOT_FOUND, PARAPET_PRIVACY_LINK_USED, PARAPET_PRIVACY_ARCHIVE_EXPIRED
 */
export async function openArchive(context: PrivacyContext, link: string): Promise<OpenArchive> {
  const parsed = parseToken(link)
  const found = parsed === null ? null : await context.requests.find(parsed.id)
  if (!matchesToken(parsed?.secret ?? '', found?.archive?.link) || found === null) {
    throw new PARAPET_PRIVACY_NOT_FOUND()
  }
  const body = await context.requests.change(found.id, (current) => {
    const archive = requireArchive(context, current)
    if (!matchesToken(parsed!.secret, archive.link)) throw new PARAPET_PRIVACY_NOT_FOUND()
    if (archive.link?.usedAt !== undefined) throw new PARAPET_PRIVACY_LINK_USED()
    const usedAt = context.clock.now()
    return { ...current, archive: { ...archive, link: { ...archive.link!, usedAt } } }
  })
  return { request: body.id, stream: streamOf(context, body) }
}

function requireArchive(
  { clock }: PrivacyContext,
  { state, archive }: RequestBody,
): ArchiveProgress {
  if (state === 'completed') throw new PARAPET_PRIVACY_ARCHIVE_EXPIRED()
  if (state !== 'ready' || archive === undefined) throw new PARAPET_PRIVACY_CONFLICT(state)
  if (archive.expiresAt! <= clock.now()) throw new PARAPET_PRIVACY_ARCHIVE_EXPIRED()
  return archive
}

function streamOf(context: PrivacyContext, { id, type, archive, history }: RequestBody): Readable {
  const { parts, cipher, clock, settings, registry } = context
  const ports = { parts, cipher, clock, deadlineMs: settings.portDeadlineMs }
  // The same bytes each time: the time of the collection, not of the download.
  const createdAt = history.findLast(({ state }) => state === 'ready')!.at
  return writeArchive(ports, {
    request: id,
    type,
    controller: settings.controller.name,
    createdAt,
    sources: archive!.sources.map((progress) => ({
      progress,
      source: registry.find(progress.name),
    })),
  })
}

/** Deletes an archive, and completes its request. */
export async function endArchive(
  context: Pick<PrivacyContext, 'parts' | 'requests' | 'clock' | 'emit'>,
  { id }: RequestBody,
): Promise<void> {
  await context.parts.removeAll(id)
  const step = { at: context.clock.now(), by: 'system' }
  let isEnded = false
  const body = await context.requests.change(id, (current) => {
    isEnded = current.state === 'ready'
    if (!isEnded) return null
    // The link is kept: it is answered as one that has expired, not as one that never was.
    const { link } = current.archive ?? {}
    const archive = { sources: [], isComplete: true, ...(link && { link }) }
    return { ...inState(current, 'completed', step), archive }
  })
  if (isEnded) emitClosed(context, body)
}
