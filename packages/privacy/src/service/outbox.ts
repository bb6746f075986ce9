/**
 * Messages that follow a change of a request: each is stored in the write of the change, and a job sends it. If the
 * process ends in between, the recurring job finds the message.
 */
import { uuidV7 } from '@parapet/kit'
import { PARAPET_PRIVACY_NOT_FOUND } from '../errors.ts'
import type { PendingMessage, RequestBody } from '../requests/request.ts'
import { callPort, jobNames, type PrivacyContext, type SubjectMessage } from './context.ts'

/** The context of the seal of a message. */
const contextOf = (id: string) => ['privacy', 'message', id]

/** What a job gets: the message itself stays in the request. */
export type MessageJob = {
  readonly request: string
  readonly message: string
}

/** Seals a message, for `withMessage`. @returns `undefined`: the application sends none. */
export async function sealMessage(
  { cipher, settings }: Pick<PrivacyContext, 'cipher' | 'settings'>,
  message: SubjectMessage,
): Promise<PendingMessage | undefined> {
  if (settings.deliver === undefined) return undefined
  const id = uuidV7()
  return { id, sealed: await cipher.seal(JSON.stringify({ ...message, id }), contextOf(id)) }
}

/** Gives the messages of a request to the jobs. What fails here is found by the recurring job. */
export async function dispatchMessages(
  { jobs, onError }: Pick<PrivacyContext, 'jobs' | 'onError'>,
  { id: request, outbox = [] }: RequestBody,
): Promise<void> {
  try {
    for (const { id: message } of outbox) {
      const data = { request, message }
      await jobs.enqueue(jobNames.tell, data, { key: keyOf(data) })
    }
  } catch (error) {
    onError(error, 'privacy sends a message to a subject later: the jobs did not accept it')
  }
}

/** Sends a message, and forgets it. Killed in between, the next attempt sends it again under the same id. */
export async function sendMessage(context: PrivacyContext, job: MessageJob): Promise<void> {
  const { requests, cipher, settings } = context
  const body = await requests.find(job.request)
  const pending = body?.outbox?.find(({ id }) => id === job.message)
  if (pending === undefined) return
  const { deliver } = settings
  if (deliver !== undefined) {
    const text = (await cipher.open(pending.sealed, contextOf(pending.id))).toString()
    await callPort(context, 'deliver', () => deliver(JSON.parse(text) as SubjectMessage))
  }
  await forgetMessage(context, job)
}

/** The job of a message. An erasure waits for its announcement, and goes on here. */
export async function runMessageJob(context: PrivacyContext, job: MessageJob): Promise<void> {
  await sendMessage(context, job)
  const body = await context.requests.find(job.request)
  if (body?.announcement !== job.message || body.state !== 'running') return
  await context.jobs.enqueue(jobNames.run, { id: body.id })
}

/** Gives those to the jobs again whose jobs were lost, and gives up those that all attempts have failed to send. */
export async function tendMessages(context: PrivacyContext, body: RequestBody): Promise<void> {
  const { id: request, type, outbox = [] } = body
  for (const pending of outbox) {
    const data = { request, message: pending.id }
    const job = await context.jobs.find(jobNames.tell, keyOf(data))
    if (job === null) await dispatchMessages(context, { ...body, outbox: [pending] })
    if (job?.state !== 'dead' && job?.state !== 'cancelled') continue
    await forgetMessage(context, data)
    context.emit('privacy.undelivered', { request, type })
  }
}

async function forgetMessage(
  { requests }: PrivacyContext,
  { request, message }: MessageJob,
): Promise<void> {
  try {
    await requests.change(request, ({ outbox = [], ...body }) => {
      const left = outbox.filter(({ id }) => id !== message)
      return left.length === 0 ? body : { ...body, outbox: left }
    })
  } catch (error) {
    // The request was removed meanwhile.
    if (!(error instanceof PARAPET_PRIVACY_NOT_FOUND)) throw error
  }
}

function keyOf({ request, message }: MessageJob): string {
  return `${request}:${message}`
}
