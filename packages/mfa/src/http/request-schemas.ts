/** Schemas of request bodies and parameters. */
import { Type, type Static, type TSchema } from '@sinclair/typebox'

const closed = { additionalProperties: false } as const
/** For what browsers send: they add members, which are ignored. */
const open = { additionalProperties: true } as const
const base64url = (maxLength: number, description: string) =>
  Type.String({ minLength: 1, maxLength, pattern: '^[\\w-]+$', description })

const Code = Type.String({
  minLength: 6,
  maxLength: 32,
  description: 'A code of the authenticator app, or a backup code, as the user typed it',
})
const Name = Type.String({
  minLength: 1,
  maxLength: 64,
  pattern: '^\\S(?:.*\\S)?$',
  description: 'A name that the user chose, without spaces around it',
})
const CredentialId = base64url(1400, 'The credential id, base64url')
const Id = base64url(1400, 'The id from the status route')

export const VerifyBody = Type.Object(
  {
    code: Code,
    rememberDevice: Type.Optional(
      Type.Boolean({ description: 'Whether to set the cookie of a remembered device' }),
    ),
  },
  closed,
)
export const ConfirmBody = Type.Object(
  { ticket: base64url(64, 'The ticket from the start of the enrolment'), code: Code },
  closed,
)
export const RecoverBody = Type.Object(
  { codes: Type.Tuple([Code, Code], { description: 'Two different backup codes' }) },
  closed,
)
export const NameBody = Type.Object({ name: Name }, closed)
export const IdParams = Type.Object({ id: Id }, closed)
export const UserParams = Type.Object(
  {
    id: Type.String({
      minLength: 1,
      maxLength: 300,
      pattern: '^[^\\u0000]+$',
      description: 'The id of the user',
    }),
  },
  closed,
)

/** The result of `PublicKeyCredential.toJSON()`. @see WebAuthn Level 3, section 5.1 */
const credential = <T extends TSchema>(response: T) =>
  Type.Object(
    {
      id: CredentialId,
      rawId: CredentialId,
      type: Type.Literal('public-key'),
      response,
      authenticatorAttachment: Type.Optional(Type.String({ maxLength: 32 })),
      clientExtensionResults: Type.Optional(Type.Object({}, open)),
    },
    { ...open, description: 'The credential, from its toJSON()' },
  )
const Attestation = Type.Object(
  {
    clientDataJSON: base64url(4096, 'The client data'),
    attestationObject: base64url(24_576, 'The attestation object'),
    transports: Type.Optional(Type.Array(Type.String({ maxLength: 32 }), { maxItems: 8 })),
  },
  open,
)
const Assertion = Type.Object(
  {
    clientDataJSON: base64url(4096, 'The client data'),
    authenticatorData: base64url(4096, 'The authenticator data'),
    signature: base64url(2048, 'The signature'),
    userHandle: Type.Optional(base64url(128, 'The user handle')),
  },
  open,
)

export const RegisterBody = Type.Object({ name: Name, response: credential(Attestation) }, closed)
export const AnswerBody = Type.Object({ response: credential(Assertion) }, closed)

export type VerifyBody = Static<typeof VerifyBody>
export type ConfirmBody = Static<typeof ConfirmBody>
export type RecoverBody = Static<typeof RecoverBody>
export type NameBody = Static<typeof NameBody>
export type IdParams = Static<typeof IdParams>
export type UserParams = Static<typeof UserParams>
export type RegisterBody = Static<typeof RegisterBody>
export type AnswerBody = Static<typeof AnswerBody>
