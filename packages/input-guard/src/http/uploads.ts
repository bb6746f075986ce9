/** Connects uploads to `@fastify/multipart` and deletes their files when the request ends. */
import type { Socket } from 'node:net'
import { useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import {
  PARAPET_INPUT_GUARD_BODY_REFUSED,
  PARAPET_INPUT_GUARD_MISSING_LIBRARY,
  PARAPET_INPUT_GUARD_UPLOAD_REFUSED,
  PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE,
} from '../errors.ts'
import { events } from '../events.ts'
import type { InputGuardSettings } from '../options.ts'
import { bodyProblems } from '../request/problems.ts'
import { findParameterFault, type ParameterFault } from '../request/query.ts'
import { fromClient } from '../uploads/from-client.ts'
import { receiveFiles } from '../uploads/receive-files.ts'
import type { ReceivedForm, UploadPart, UploadRules } from '../uploads/rules.ts'
import type { Recorder } from './recorder.ts'
import { parameterRules } from './request-guard.ts'
import { resolveUploadRules, type UploadSettings } from '../uploads/settings.ts'

/** Receives the form of a request. */
export type ReceiveUpload = (request: FastifyRequest, rules: UploadRules) => Promise<ReceivedForm>

/** Requests with the method that `@fastify/multipart` adds. */
type MultipartRequest = FastifyRequest & {
  readonly parts?: (options: object) => AsyncIterable<UploadPart>
}

const MAX_PART_HEADERS = 20

/** What a request has uploaded. */
interface Upload {
  /** Delete its files. */
  readonly discards: (() => Promise<void>)[]
  /** The response was sent or the connection was closed: files that pass later are deleted at once. */
  hasEnded: boolean
  /** Deletes the files, and those that pass later. */
  end(): Promise<void>
}

/** What closes when the client leaves: the stream of HTTP/2, or the socket. */
function connectionOf({
  raw,
}: FastifyRequest): Pick<Socket, 'once' | 'removeListener' | 'destroyed'> {
  return (raw as { readonly stream?: Socket }).stream ?? raw.socket
}

/** Adds the hooks. @returns the function for handlers */
export function addUploads(
  app: FastifyInstance,
  settings: InputGuardSettings,
  recorder: Recorder,
): ReceiveUpload {
  const bus = useSecurityEvents(app, events)
  const uploads = new WeakMap<FastifyRequest, Upload>()
  app.addHook('onResponse', (request, _reply, done) => {
    const upload = uploads.get(request)
    // Without a promise for the requests that uploaded nothing.
    if (upload === undefined) return done()
    void endThen(upload, done)
  })
  return async (request, given) => {
    const rules = resolveUploadRules(given)
    const { parts } = request as MultipartRequest
    if (parts === undefined) {
      throw new PARAPET_INPUT_GUARD_MISSING_LIBRARY('receiveUpload', '@fastify/multipart')
    }
    const upload = uploads.get(request) ?? beginUpload(request)
    uploads.set(request, upload)
    try {
      const fields = guardFields(
        parts.call(request, { limits: limitsOf(rules) }),
        settings,
        (code) => recorder.rejected(request, { in: 'body', field: '', code, count: 1 }),
      )
      return await receive(fields, rules, upload)
    } catch (error) {
      const known = toKnown(error)
      if (known instanceof PARAPET_INPUT_GUARD_UPLOAD_REFUSED) {
        bus.emit('input_guard.upload_refused', { details: { reason: known.message } }, request)
      }
      throw known
    }
  }
}

/** Refuses text fields as those of other forms. */
async function* guardFields(
  parts: AsyncIterable<UploadPart>,
  settings: InputGuardSettings,
  refused: (code: ParameterFault) => void,
): AsyncGenerator<UploadPart> {
  const rules = { ...parameterRules(settings), lists: null }
  const names = new Set<string>()
  for await (const part of fromClient(parts)) {
    if (part.type !== 'file') {
      const { fieldname, value } = part
      const isRepeated = settings.duplicateParameters === 'reject' && names.has(fieldname)
      names.add(fieldname)
      const fault = isRepeated
        ? 'duplicate_parameter'
        : findParameterFault({ [fieldname]: value }, rules)
      if (fault !== undefined) {
        refused(fault)
        throw new PARAPET_INPUT_GUARD_BODY_REFUSED(bodyProblems[fault])
      }
    }
    yield part
  }
}

async function endThen(upload: Upload, done: () => void): Promise<void> {
  await upload.end()
  done()
}

/** Ends with the response, or with the connection: `onResponse` does not run if the client leaves before. */
function beginUpload(request: FastifyRequest): Upload {
  const connection = connectionOf(request)
  const leave = () => void upload.end()
  const upload: Upload = {
    discards: [],
    hasEnded: connection.destroyed,
    async end() {
      connection.removeListener('close', leave)
      upload.hasEnded = true
      for (const discard of upload.discards.splice(0)) {
        await discard().catch((error: unknown) => {
          request.log.error({ err: error }, 'input-guard could not delete an uploaded file')
        })
      }
    },
  }
  connection.once('close', leave)
  return upload
}

async function receive(
  parts: AsyncIterable<UploadPart>,
  rules: UploadSettings,
  upload: Upload,
): Promise<ReceivedForm> {
  const { form, discard } = await receiveFiles(parts, rules)
  upload.discards.push(discard)
  if (!upload.hasEnded) return form
  await upload.end()
  throw new PARAPET_INPUT_GUARD_UPLOAD_REFUSED('the request ended before its files were checked')
}

function limitsOf({ maxFiles, maxFileBytes, maxFields }: UploadSettings): object {
  return {
    files: maxFiles,
    fields: maxFields,
    parts: maxFiles + maxFields,
    fileSize: maxFileBytes,
    fieldNameSize: 200,
    headerPairs: MAX_PART_HEADERS,
  }
}

/** The limits of `@fastify/multipart`. */
const LIMITS: Readonly<Record<string, string>> = {
  FST_REQ_FILE_TOO_LARGE: 'a file has too many bytes',
  FST_FILES_LIMIT: 'it has too many files',
  FST_FIELDS_LIMIT: 'it has too many fields',
  FST_PARTS_LIMIT: 'it has too many parts',
}

function toKnown(error: unknown): unknown {
  const code = String((error as { readonly code?: unknown } | null)?.code)
  return Object.hasOwn(LIMITS, code)
    ? Object.assign(new PARAPET_INPUT_GUARD_UPLOAD_TOO_LARGE(LIMITS[code]!), { cause: error })
    : error
}
