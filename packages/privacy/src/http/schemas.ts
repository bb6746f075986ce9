/** Schemas of the routes: plain JSON Schema, closed and bounded. */
import type { FastifySchema } from 'fastify'
import { requestTypes } from '../requests/request.ts'

const TAGS = ['privacy']
type Members = Readonly<Record<string, object>>

const object = (properties: Members, optional: readonly string[] = []) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  additionalProperties: false,
})
const text = (maxLength: number, description: string) => ({
  type: 'string',
  minLength: 1,
  maxLength,
  description,
})
const time = (description: string) => ({
  type: 'integer',
  description: `${description}, in milliseconds since the Unix epoch`,
})
const list = (items: object) => ({ type: 'array', items })
const string = { type: 'string' }
const integer = { type: 'integer' }

const id = { type: 'string', pattern: '^[0-9a-f-]{36}$', maxLength: 36, description: 'An id' }
const params = object({ id })
const reason = text(1000, 'The reason, which is stored and told to the subject')
const type = { type: 'string', enum: [...requestTypes], description: 'The right that is used' }
const token = {
  type: 'string',
  pattern: String.raw`^[0-9a-f-]{36}\.[\w-]{43}$`,
  maxLength: 80,
  description: 'A one-time token',
}

const part = object(
  {
    name: string,
    kind: string,
    status: string,
    attempts: integer,
    at: time('When it was done'),
    error: string,
    retained: list(object({ field: string, basis: string })),
  },
  ['at', 'error', 'retained'],
)
const request = object(
  {
    id: string,
    type: string,
    state: string,
    openedAt: time('When the request was received'),
    dueAt: time('When it has to be answered'),
    extension: object({ months: integer, reason: string, at: time('When it was extended') }),
    parts: list(part),
    archive: object({
      expiresAt: time('When the archive is deleted'),
      records: integer,
      bytes: integer,
    }),
    receipt: { type: 'string', description: 'A signed receipt, as compact JWS' },
    removeAt: time('When what was anonymised is removed'),
    history: list(
      object({ at: time('When'), state: string, by: string, reason: string }, ['reason']),
    ),
  },
  ['extension', 'archive', 'receipt', 'removeAt'],
)
const page = object({ items: list(request), nextCursor: string }, ['nextCursor'])
const consent = object(
  {
    id: string,
    purpose: string,
    title: string,
    state: { type: ['string', 'null'] },
    version: integer,
    noticeVersion: string,
    at: { type: ['integer', 'null'] },
    expiresAt: time('When it has to be given again'),
    isGranted: { type: 'boolean' },
  },
  ['id', 'expiresAt'],
)
const hold = object(
  {
    id: string,
    kind: string,
    reference: { type: 'string', description: 'The pseudonym of the subject' },
    reason: string,
    basis: string,
    placedAt: time('When it was placed'),
    releasedAt: time('When it was released'),
    releaseReason: string,
  },
  ['releasedAt', 'releaseReason'],
)
const anything = { type: 'object', additionalProperties: true }
const sweepReport = object({
  id: string,
  at: time('When it ran'),
  dryRun: { type: 'boolean' },
  sources: list(
    object({ source: string, before: integer, found: integer, removed: integer, error: string }, [
      'error',
    ]),
  ),
})
const finding = object({
  rule: string,
  severity: string,
  source: string,
  problem: string,
  fix: string,
})
const purposeParams = object({
  purpose: { ...text(64, 'The name of a purpose'), pattern: String.raw`^[\w.-]+$` },
})
const details = object(
  {
    changes: {
      type: 'object',
      maxProperties: 100,
      propertyNames: { maxLength: 64 },
      additionalProperties: {
        type: 'object',
        maxProperties: 100,
        propertyNames: { maxLength: 128 },
        additionalProperties: { type: 'string', maxLength: 10_000 },
      },
      description: 'Rectification: the new values, by source and field',
    },
    purposes: {
      type: 'array',
      maxItems: 100,
      items: text(64, 'A purpose'),
      description: 'Objection: the purposes of consent',
    },
    note: text(2000, 'A note for the officer'),
  },
  ['changes', 'purposes', 'note'],
)
const paging = object(
  {
    limit: { type: 'integer', minimum: 1, maximum: 100, default: 50, description: 'At most' },
    cursor: { type: 'string', maxLength: 80, pattern: String.raw`^\d{1,16}\.[0-9a-f-]{36}$` },
  },
  ['limit', 'cursor'],
)

const problem = {
  type: 'object',
  description: 'The error, as problem details (RFC 9457) or as Fastify writes it.',
  // Fastify's own error handler passes the error, whose members are written only if they are named.
  properties: { statusCode: integer, code: string, error: string, message: string },
  additionalProperties: true,
}

const operation = (summary: string, schema: FastifySchema): { readonly schema: FastifySchema } => {
  // Fastify's own type has no summary: that of @fastify/swagger adds it.
  const words = summary.replaceAll(/[^a-z ]/gi, '').split(' ')
  const operationId = `privacy${words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('')}`
  const response = { ...(schema.response as object), '4XX': problem, '5XX': problem }
  const described = { operationId, summary, tags: TAGS, ...schema, response }
  return { schema: described }
}
const one = (schema: object, status = 200) => ({ response: { [status]: schema } })

/** The schemas of routes of subjects. */
export const subjectRoutes = {
  open: operation('Open a request about the own data', {
    body: object({ type, details }, ['details']),
    ...one(request, 201),
  }),
  list: operation('List the own requests', { querystring: paging, ...one(page) }),
  get: operation('Read an own request', { params, ...one(request) }),
  withdraw: operation('Withdraw an own request that has not begun', { params, ...one(request) }),
  link: operation('Make a one-time link to the own archive', {
    params,
    ...one(object({ link: string, expiresAt: time('When the archive is deleted') }), 201),
  }),
  consents: operation('List the purposes of consent, with the own decisions', {
    ...one(object({ items: list(consent) })),
  }),
  give: operation('Give or refuse a consent', {
    params: purposeParams,
    body: object({
      state: { type: 'string', enum: ['granted', 'refused'] },
      noticeVersion: text(64, 'The version of the notice that was shown'),
    }),
    ...one(consent),
  }),
  withdrawConsent: operation('Withdraw a consent', { params: purposeParams, ...one(consent) }),
  consentReceipt: operation('Read the receipt of the own decision (ISO/IEC TS 27560)', {
    params: purposeParams,
    ...one(anything),
  }),
}

/** The schemas of routes without a login. */
export const openRoutes = {
  byContact: operation('Open a request without a login; the response is always the same', {
    body: object({ type, contact: text(320, 'The address or number on record') }),
    ...one(object({ accepted: { type: 'boolean' } }), 202),
  }),
  confirm: operation('Confirm a request by its token', {
    body: object({ token }),
    ...one(request),
  }),
  archive: operation('Download an archive by its one-time link', {
    body: object({ link: token }),
    response: {
      200: {
        description: 'A ZIP file',
        content: { 'application/zip': { schema: { type: 'string', format: 'binary' } } },
      },
    },
  }),
  keys: operation('Read the key that verifies receipts', {
    ...one(object({ keys: list(anything) })),
  }),
  answer: operation('Answer the notice of an erasure, as a processor', {
    params: object({ name: { ...text(63, 'A processor'), pattern: '^[a-z][a-z0-9_-]*$' } }),
    body: object({ id, status: { type: 'string', enum: ['erased', 'failed'] } }),
    response: { 204: { type: 'null', description: 'Noted' } },
  }),
}

/** The schemas of routes of officers. */
export const officerRoutes = {
  list: operation('List requests', {
    querystring: {
      ...paging,
      properties: { ...paging.properties, state: { type: 'string', enum: ['open', 'closed'] } },
    },
    ...one(page),
  }),
  get: operation('Read a request', { params, ...one(request) }),
  approve: operation('Let a request run that waits for approval', { params, ...one(request) }),
  retry: operation('Try the failed parts of a request at once', { params, ...one(request) }),
  reject: operation('Reject a request', { params, body: object({ reason }), ...one(request) }),
  extend: operation('Extend the deadline of a request', {
    params,
    body: object({ months: { type: 'integer', minimum: 1, maximum: 2 }, reason }),
    ...one(request),
  }),
  holds: operation('List legal holds and restrictions', {
    querystring: paging,
    ...one(object({ items: list(hold), nextCursor: string }, ['nextCursor'])),
  }),
  place: operation('Place a legal hold', {
    body: object({
      subject: text(256, 'The id of the subject'),
      reason: text(1000, 'The reason'),
      basis: text(1000, 'The legal basis'),
    }),
    ...one(hold, 201),
  }),
  release: operation('Release a legal hold', { params, body: object({ reason }), ...one(hold) }),
  register: operation('Read the register of processing activities (GDPR, article 30)', {
    ...one(anything),
  }),
  registerPage: operation('Read the register as a page of Markdown', {
    response: {
      200: { description: 'The page', content: { 'text/markdown': { schema: string } } },
    },
  }),
  inventory: operation('Read the inventory of personal data, and what the lint finds', {
    ...one(object({ items: list(anything), findings: list(finding) })),
  }),
  sweeps: operation('List the reports of retention sweeps', {
    ...one(object({ items: list(sweepReport) })),
  }),
  sweep: operation('Run a retention sweep', {
    body: object({ dryRun: { type: 'boolean', description: 'Whether to remove nothing' } }),
    ...one(sweepReport),
  }),
}
