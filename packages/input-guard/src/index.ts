/**
 * Checks what enters and leaves a Fastify app: connections, requests, fields, files, responses and outgoing
 * requests.
 *
 * Schemas carry their own safety: a type such as `SafeEmail` is a TypeBox schema with a check that the
 * validators of this plugin run. A route that is declared in the context of the plugin, and has no compiler of its
 * own, gets such a validator; nothing else of Fastify's validation is changed.
 */
import { declarePhase, useSecurityEvents } from '@parapet/kit'
import type { FastifyInstance, FastifyPluginAsync, FastifyRequest } from 'fastify'
import fp from 'fastify-plugin'
import { events } from './events.ts'
import { guardConnections } from './http/connection-guard.ts'
import { guardJson, type JsonParser } from './http/json-guard.ts'
import { createRecorder } from './http/recorder.ts'
import { guardRequests } from './http/request-guard.ts'
import { auditRoutes } from './http/route-audit.ts'
import { GuardedRoutes } from './http/routes.ts'
import {
  createCompilerFactory,
  createTools,
  lateCompiler,
  loadLibraries,
  sanitizedOf,
} from './http/schemas.ts'
import { addUploads } from './http/uploads.ts'
import {
  resolveFetchOptions,
  resolveOptions,
  type FetchOptions,
  type InputGuardOptions,
} from './options.ts'
import { createSafeFetcher, type SafeFetch } from './outgoing/safe-fetch.ts'
import type { ReceivedForm, UploadRules } from './uploads/rules.ts'

export * from './errors.ts'
// A type export keeps the typed events in the published declarations; a bare import would be dropped.
export type * from './events.ts'
export { connectionGuard } from './http/connection-guard.ts'
export { jsonGuard, type JsonParser } from './http/json-guard.ts'
export { guardedSchemas } from './http/schemas.ts'
export type {
  ConnectionGuardOptions,
  FetchOptions,
  InputGuardOptions,
  JsonGuardOptions,
  SchemaOptions,
} from './options.ts'
export type { ConnectTarget, FetchPorts, HostAddress } from './outgoing/ports.ts'
export type { SafeFetch, SafeFetchInit } from './outgoing/safe-fetch.ts'
export { downloadHeaders, type DownloadHeaders } from './output/content-disposition.ts'
export { encodeFor, type Encoders } from './output/encode.ts'
export type { AllowedHtml, CommonOptions, HtmlEngine } from './types/check.ts'
export { CountryCode, Phone, Uuid, type PhoneOptions, type UuidOptions } from './types/codes.ts'
export {
  DateRange,
  FutureDate,
  PastDate,
  type DateOptions,
  type DateRangeOptions,
} from './types/dates.ts'
export { SafeEmail, type SafeEmailOptions } from './types/email.ts'
export { SafeFilename, type SafeFilenameOptions } from './types/file-name.ts'
export { SafeHtml, type SafeHtmlOptions } from './types/html.ts'
export { SafeJson, type JsonValue, type SafeJsonOptions } from './types/json.ts'
export {
  PersonName,
  SearchQuery,
  Slug,
  type NameOptions,
  type PersonNameOptions,
} from './types/names.ts'
export { Money, Multiple, type MoneyOptions, type MultipleOptions } from './types/numbers.ts'
export { SafeText, type SafeTextOptions, type TextTransforms } from './types/text.ts'
export {
  resolveRedirect,
  SafeRedirect,
  SafeUrl,
  type SafeRedirectOptions,
  type SafeUrlOptions,
} from './types/url.ts'
export type {
  ArchiveRules,
  ReceivedFile,
  ReceivedForm,
  StagedFile,
  UploadRules,
} from './uploads/rules.ts'

/** The decorator `app.inputGuard`. */
export interface InputGuard {
  /** `fetch` that reaches public hosts only. */
  readonly fetch: SafeFetch
  /** A guarded parser for further JSON types: `addContentTypeParser(type, { parseAs: 'buffer' }, parseJson)`. */
  readonly parseJson: JsonParser
  /** Receives the form of a request, through `@fastify/multipart`. */
  receiveUpload(request: FastifyRequest, rules: UploadRules): Promise<ReceivedForm>
  /** Lists the input of routes that is not bounded; complete after `ready`. */
  audit(): readonly string[]
}

/** The decorator `request.inputGuard`. */
export interface RequestInputGuard {
  /** The fields from which something unsafe was removed: `body/comment`. */
  readonly sanitized: readonly string[]
}

/** What a route may say of itself. */
export interface InputGuardRule {
  /** Why the audit accepts the route although its input is not bounded. */
  readonly unguarded: string
}

declare module 'fastify' {
  interface FastifyInstance {
    inputGuard: InputGuard
  }
  interface FastifyRequest {
    readonly inputGuard: RequestInputGuard
  }
  interface FastifyContextConfig {
    /** @default the input of the route must be bounded */
    inputGuard?: InputGuardRule
  }
}

const NAME = '@parapet/input-guard'

/** Creates a `fetch` without an app. @throws PARAPET_INPUT_GUARD_INVALID_OPTION */
export function createSafeFetch(options: FetchOptions = {}): SafeFetch {
  return createSafeFetcher(resolveFetchOptions(options))
}

async function inputGuardPlugin(app: FastifyInstance, options: InputGuardOptions): Promise<void> {
  const settings = resolveOptions(options)
  declarePhase(app, NAME, 'input')
  const bus = useSecurityEvents(app, events)
  const recorder = createRecorder(app, settings.clock)
  const tools = createTools(settings)
  guardConnections(app, settings.connections, options.connections !== undefined)
  const parseJson = guardJson(app, settings.json, recorder, options.json !== undefined)
  const create = createCompilerFactory(settings, tools)
  const routes = new GuardedRoutes(
    app,
    {
      recorder: settings.responses === 'report' ? recorder : undefined,
      maxTextBytes: settings.maxTextResponseBytes,
    },
    (context) => lateCompiler(context, create),
  )
  guardRequests(app, settings, recorder, {
    hasDeclaredType: (request) => routes.hasDeclaredType(request),
    querystring: (request) => routes.listsOf(request, 'querystring'),
    body: (request) => routes.listsOf(request, 'body'),
  })
  app.decorate('inputGuard', {
    fetch: createSafeFetcher(settings.fetch, (reason, host) =>
      bus.emit('input_guard.request_forbidden', { details: { reason, host } }),
    ),
    parseJson,
    receiveUpload: addUploads(app, settings, recorder),
    audit: () => routes.audit(settings.unguarded),
  })
  app.decorateRequest('inputGuard', {
    getter(this: FastifyRequest) {
      return { sanitized: sanitizedOf(this) }
    },
  })
  app.addHook('onReady', async () => {
    await tools.libraries.ready()
    await loadLibraries(app)
    auditRoutes(app, routes, settings)
  })
}

/** The plugin. Register it with `await`, after the plugins that decide who may call, and before the routes. */
export const inputGuard: FastifyPluginAsync<InputGuardOptions> = fp(inputGuardPlugin, {
  name: NAME,
  fastify: '5.x',
})
export default inputGuard
