/** Connects uploads to `@fastify/multipart` and deletes their files when the request ends. */
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
import { receiveFiles } from '../uploads/receive-files.ts'
import type { ReceivedForm, UploadPart, UploadRules } from '../uploads/rules.ts'
import type { Recorder } from './recorder.ts'
import { parameterRules } from './request-guard.ts'

/** Receives the form of a request. */
export type ReceiveUpload = (request: FastifyRequest, rules: UploadRules) => Promise<ReceivedForm>

/** Requests with the method that `@fastify/multipart` adds. */
type MultipartRequest = FastifyRequest & {
  readonly parts?: (options: object) => AsyncIterable<UploadPart>
}

const MAX_PART_HEADERS = 20

/** Adds the hooks. @returns the function for handlers */
export function addUploads(
  app: FastifyInstance,
  settings: InputGuardSettings,
  recorder: Recorder,
): ReceiveUpload {
  const bus = useSecurityEvents(app, events)
  const discards = new WeakMap<FastifyRequest, (() => Promise<void>)[]>()
  const clean = async (request: FastifyRequest) => {
    for (const discard of discards.get(request) ?? []) {
      await discard().catch((error: unknown) => {
        request.log.error({ err: error }, 'input-guard could not delete an uploaded file')
      })
    }
    discards.delete(request)
  }
  // A connection that ends early runs onResponse, too: the response is closed.
  app.addHook('onResponse', (request, _reply, done) => {
    // Without a promise for the requests that uploaded nothing.
    if (!discards.has(request)) return done()
    void cleanThen(request, done)
  })
  const cleanThen = async (request: FastifyRequest, done: () => void) => {
    await clean(request)
    done()
  }
  return async (request, rules) => {
    const form = request as MultipartRequest
    if (form.parts === undefined) {
      throw new PARAPET_INPUT_GUARD_MISSING_LIBRARY('receiveUpload', '@fastify/multipart')
    }
    const { maxFiles = 1, maxFileBytes = 10_485_760, maxFields = 20 } = rules
    const limits = {
      files: maxFiles,
      fields: maxFields,
      parts: maxFiles + maxFields,
      fileSize: maxFileBytes,
      fieldNameSize: 200,
      headerPairs: MAX_PART_HEADERS,
    }
    try {
      const { form: received, discard } = await receiveFiles(
        guardFields(form.parts({ limits }), settings, (code) =>
          recorder.rejected(request, { in: 'body', field: '', code, count: 1 }),
        ),
        rules,
      )
      discards.set(request, [...(discards.get(request) ?? []), discard])
      // The response was sent while the form arrived.
      if (request.raw.destroyed && request.raw.aborted) await clean(request)
      return received
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
  for await (const part of parts) {
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
