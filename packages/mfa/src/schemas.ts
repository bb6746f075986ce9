/** The shapes that the routes take and give. */
import { Type, type Static, type TSchema } from '@sinclair/typebox'

const closed = { additionalProperties: false } as const
const base64url = (maxLength: number) =>
  Type.String({ minLength: 1, maxLength, pattern: '^[\\w-]+$' })
const time = (description: string) =>
  Type.Integer({ description: `${description}; milliseconds since the Unix epoch` })

/** A code of an authenticator app, or a backup code. */
const Code = Type.String({ minLength: 6, maxLength: 32, description: 'As it was typed' })
const Name = Type.String({ minLength: 1, maxLength: 64, pattern: '^\\S(?:.*\\S)?$' })
const Id = base64url(1400)

const Empty = Type.Null({ description: 'Done' })
const VerifyBody = Type.Object(
  { code: Code, rememberDevice: Type.Optional(Type.Boolean()) },
  closed,
)
const ConfirmBody = Type.Object({ ticket: base64url(64), code: Code }, closed)
const RecoverBody = Type.Object(
  { codes: Type.Tuple([Code, Code], { description: 'Two different backup codes' }) },
  closed,
)
const NameBody = Type.Object({ name: Name }, closed)
const IdParams = Type.Object({ id: Id }, closed)
const UserParams = Type.Object(
  { id: Type.String({ minLength: 1, maxLength: 300, pattern: '^[^\\u0000]+$' }) },
  closed,
)

const Extensions = Type.Optional(Type.Object({}, { additionalProperties: true }))
// Open: browsers add members, and what is not known is not looked at.
const open = { additionalProperties: true } as const
const credential = <T extends TSchema>(response: T) => ({
  id: Id,
  rawId: Id,
  type: Type.Literal('public-key'),
  response,
  authenticatorAttachment: Type.Optional(Type.String({ maxLength: 32 })),
  clientExtensionResults: Extensions,
})
const Attestation = Type.Object(
  {
    clientDataJSON: base64url(4096),
    attestationObject: base64url(24_576),
    transports: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 8 })),
  },
  { additionalProperties: true },
)
const Answer = Type.Object(
  {
    clientDataJSON: base64url(4096),
    authenticatorData: base64url(4096),
    signature: base64url(2048),
    userHandle: Type.Optional(base64url(128)),
  },
  { additionalProperties: true },
)

const RegisterBody = Type.Object(
  { name: Name, response: Type.Object(credential(Attestation), open) },
  closed,
)
const AnswerBody = Type.Object({ response: Type.Object(credential(Answer), open) }, closed)

const TotpBegun = Type.Object({
  ticket: Type.String({ description: 'Hand it back with the first code' }),
  secret: Type.String({ description: 'Base32' }),
  uri: Type.String(),
  qr: Type.Object({ dataUrl: Type.String(), svg: Type.String() }),
  backupCodes: Type.Array(Type.String(), { description: 'Shown this once' }),
  expiresAt: time('When the ticket ends'),
})
const Verified = Type.Object({
  method: Type.String(),
  aal: Type.Integer({ description: 'Authenticator assurance level, NIST SP 800-63B-4' }),
  amr: Type.Array(Type.String(), { description: 'RFC 8176' }),
  provedAt: time('When'),
  driftSteps: Type.Optional(
    Type.Union([Type.Integer(), Type.Null()], {
      description: 'Steps of 30 s by which the clock of the authenticator app is ahead',
    }),
  ),
  backupCodesLeft: Type.Optional(Type.Integer()),
})
const BackupCodes = Type.Object({
  backupCodes: Type.Array(Type.String(), { description: 'Shown this once' }),
})
const PasskeyView = Type.Object({
  id: Type.String(),
  name: Type.String(),
  createdAt: time('When it was enrolled'),
  lastUsedAt: time('When it was used last'),
  transports: Type.Array(Type.String()),
  backupEligible: Type.Boolean({ description: 'Whether it may be copied to other devices' }),
  backedUp: Type.Boolean({ description: 'Whether it is' }),
})
const Status = Type.Object({
  enrolled: Type.Boolean(),
  totp: Type.Union([
    Type.Object({
      enrolledAt: time('When'),
      driftSteps: Type.Union([Type.Integer(), Type.Null()]),
    }),
    Type.Null(),
  ]),
  totpLocked: Type.Boolean({ description: 'Disabled after too many wrong codes in a row' }),
  backupCodesLeft: Type.Integer(),
  passkeys: Type.Array(PasskeyView),
  devices: Type.Array(
    Type.Object({
      id: Type.String(),
      label: Type.String({ description: 'The user agent it was remembered with' }),
      createdAt: time('When it was remembered'),
      expiresAt: time('When it is forgotten'),
    }),
  ),
})
/** What a browser takes as it is; its form is WebAuthn's. */
const BrowserOptions = Type.Object(
  {},
  {
    additionalProperties: true,
    description: 'For parseCreationOptionsFromJSON or parseRequestOptionsFromJSON',
  },
)
/** What the sign-in of the app answers. */
const SignedIn = Type.Object({}, { additionalProperties: true })

const text = Type.Optional(Type.String())

/** An error, in whichever form the app's error handler gives it: Fastify's, or RFC 9457's. */
const Problem = Type.Object(
  {
    code: Type.Optional(Type.String({ description: 'PARAPET_MFA_…' })),
    statusCode: Type.Optional(Type.Integer()),
    error: text,
    message: text,
    title: text,
    detail: text,
  },
  { additionalProperties: true, description: 'What went wrong' },
)

interface Parts {
  readonly body?: TSchema
  readonly params?: TSchema
  /** @default 200 */
  readonly status?: number
}

/** The step-up hook passes these routes by: each asks for what it needs itself. */
function describe(operationId: string, summary: string, answer: TSchema, parts: Parts = {}) {
  const { status = 200, ...input } = parts
  const response = { [status]: answer, '4xx': Problem, '5xx': Problem }
  const schema = { operationId, summary, tags: ['mfa'], ...input, response }
  return { config: { mfa: 'open' }, bodyLimit: 32_768, schema } as const
}

const done = { status: 204 } as const

/** What Fastify is told of each route. */
export const routes = Object.freeze({
  status: describe('mfaGetStatus', 'What the caller has enrolled', Status),
  beginTotp: describe('mfaBeginTotp', 'Begin to enrol an authenticator app', TotpBegun, {
    status: 201,
  }),
  confirmTotp: describe('mfaConfirmTotp', 'Enrol the app by its first code', Verified, {
    body: ConfirmBody,
  }),
  removeTotp: describe('mfaRemoveTotp', 'Remove the authenticator app', Empty, done),
  verify: describe('mfaVerifyCode', 'Prove a code of the app, or a backup code', Verified, {
    body: VerifyBody,
  }),
  replaceBackupCodes: describe('mfaReplaceBackupCodes', 'Replace all backup codes', BackupCodes, {
    status: 201,
  }),
  forgetDevices: describe('mfaForgetDevices', 'Forget all remembered devices', Empty, done),
  forgetDevice: describe('mfaForgetDevice', 'Forget a remembered device', Empty, {
    params: IdParams,
    ...done,
  }),
  recover: describe('mfaRecover', 'Remove all factors by two backup codes', Empty, {
    body: RecoverBody,
    ...done,
  }),
  resetUser: describe('mfaResetUser', 'Remove all factors of a user', Empty, {
    params: UserParams,
    ...done,
  }),
  beginPasskey: describe('mfaBeginPasskey', 'Begin to enrol a passkey', BrowserOptions),
  addPasskey: describe('mfaAddPasskey', 'Enrol the passkey a browser has made', PasskeyView, {
    body: RegisterBody,
    status: 201,
  }),
  renamePasskey: describe('mfaRenamePasskey', 'Rename a passkey', Empty, {
    params: IdParams,
    body: NameBody,
    ...done,
  }),
  revokePasskey: describe('mfaRevokePasskey', 'Revoke a passkey', Empty, {
    params: IdParams,
    ...done,
  }),
  beginProof: describe('mfaBeginPasskeyProof', 'Begin to prove a passkey', BrowserOptions),
  provePasskey: describe('mfaProvePasskey', 'Prove a passkey of the caller', Verified, {
    body: AnswerBody,
  }),
  beginLogin: describe('mfaBeginLogin', 'Begin to sign in with any passkey', BrowserOptions),
  login: describe('mfaLogin', 'Sign in with a passkey', SignedIn, { body: AnswerBody }),
})

export type VerifyBody = Static<typeof VerifyBody>
export type ConfirmBody = Static<typeof ConfirmBody>
export type RecoverBody = Static<typeof RecoverBody>
export type NameBody = Static<typeof NameBody>
export type IdParams = Static<typeof IdParams>
export type UserParams = Static<typeof UserParams>
export type RegisterBody = Static<typeof RegisterBody>
export type AnswerBody = Static<typeof AnswerBody>
