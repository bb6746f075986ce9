/** Schemas of request bodies and parameters: plain JSON Schema, and the types that they promise. */

const object = (
  properties: Readonly<Record<string, object>>,
  {
    optional = [],
    ...rest
  }: { readonly optional?: readonly string[]; readonly [key: string]: unknown } = {},
) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  ...rest,
})
const closed = { additionalProperties: false } as const
/** For what browsers send: they add members, which are ignored. */
const open = { additionalProperties: true } as const
const base64url = (maxLength: number, description: string) => ({
  type: 'string',
  minLength: 1,
  maxLength,
  pattern: '^[\\w-]+$',
  description,
})

const code = {
  type: 'string',
  minLength: 6,
  maxLength: 64,
  description: 'A code of the authenticator app, or a backup code, as the user typed it',
}
const name = {
  type: 'string',
  minLength: 1,
  maxLength: 64,
  pattern: '^\\S(?:.*\\S)?$',
  description: 'A name that the user chose, without spaces around it',
}
const credentialId = base64url(1364, 'The credential id, base64url')

export const verifyBody = object(
  {
    code,
    rememberDevice: {
      type: 'boolean',
      description: 'Whether to set the cookie of a remembered device',
    },
  },
  { optional: ['rememberDevice'], ...closed },
)
export const confirmBody = object(
  { ticket: base64url(64, 'The ticket from the start of the enrolment'), code },
  closed,
)
export const recoverBody = object(
  {
    codes: {
      type: 'array',
      items: code,
      minItems: 2,
      maxItems: 2,
      description: 'Two different backup codes',
    },
  },
  closed,
)
export const nameBody = object({ name }, closed)
export const idParams = object({ id: base64url(64, 'The id from the status route') }, closed)
export const userParams = object(
  {
    id: {
      type: 'string',
      minLength: 1,
      maxLength: 300,
      pattern: '^[^\\u0000]+$',
      description: 'The id of the user',
    },
  },
  closed,
)

/** The result of `PublicKeyCredential.toJSON()`. @see WebAuthn Level 3, section 5.1 */
const credential = (response: object) =>
  object(
    {
      id: credentialId,
      rawId: credentialId,
      type: { type: 'string', const: 'public-key' },
      response,
      authenticatorAttachment: { type: ['string', 'null'], maxLength: 32 },
      clientExtensionResults: { type: ['object', 'null'], ...open },
    },
    {
      optional: ['authenticatorAttachment', 'clientExtensionResults'],
      ...open,
      description: 'The credential, from its toJSON()',
    },
  )
const attestation = object(
  {
    clientDataJSON: base64url(4096, 'The client data'),
    attestationObject: base64url(24_576, 'The attestation object'),
    transports: { type: 'array', items: { type: 'string', maxLength: 32 }, maxItems: 8 },
  },
  { optional: ['transports'], ...open },
)
const assertion = object(
  {
    clientDataJSON: base64url(4096, 'The client data'),
    authenticatorData: base64url(4096, 'The authenticator data'),
    signature: base64url(2048, 'The signature'),
    userHandle: {
      type: ['string', 'null'],
      maxLength: 86,
      pattern: '^[\\w-]*$',
      description: 'The user handle; null or empty if the passkey returned none',
    },
  },
  { optional: ['userHandle'], ...open },
)

export const registerBody = object({ name, response: credential(attestation) }, closed)
export const answerBody = object({ response: credential(assertion) }, closed)

export interface VerifyBody {
  readonly code: string
  readonly rememberDevice?: boolean
}
export interface ConfirmBody {
  readonly ticket: string
  readonly code: string
}
export interface RecoverBody {
  readonly codes: readonly [string, string]
}
export interface NameBody {
  readonly name: string
}
export interface IdParams {
  readonly id: string
}
export interface UserParams {
  readonly id: string
}
export interface RegisterBody {
  readonly name: string
  /** Checked by the verification. */
  readonly response: object
}
export interface AnswerBody {
  /** Checked by the verification. */
  readonly response: object
}
