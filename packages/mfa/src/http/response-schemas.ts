/** Schemas of responses: plain JSON Schema. */

const object = (
  properties: Readonly<Record<string, object>>,
  optional: readonly string[] = [],
  rest: object = {},
) => ({
  type: 'object',
  properties,
  required: Object.keys(properties).filter((name) => !optional.includes(name)),
  ...rest,
})
const text = (description?: string) => ({
  type: 'string',
  ...(description === undefined ? undefined : { description }),
})
const flag = (description: string) => ({ type: 'boolean', description })
const integer = (description: string) => ({ type: 'integer', description })
const time = (description: string) =>
  integer(`${description}, in milliseconds since the Unix epoch`)
const list = (items: object, description?: string) => ({
  type: 'array',
  items,
  ...(description === undefined ? undefined : { description }),
})
const codes = list(text(), 'The backup codes; they cannot be read again')
const drift = (description: string) => ({ type: ['integer', 'null'], description })

export const empty = { type: 'null', description: 'Done' }
export const totpBegun = object({
  ticket: text('Send it back with the first code'),
  secret: text('The secret, base32, for users who cannot scan'),
  uri: text('The otpauth: URI for the authenticator app'),
  qr: object({ dataUrl: text('A PNG'), svg: text('An SVG document') }, [], {
    description: 'The URI as a QR code',
  }),
  backupCodes: codes,
  expiresAt: time('When the ticket expires'),
})
export const verified = object(
  {
    method: text('totp, backup-code or passkey'),
    aal: integer('Authenticator assurance level of the session, NIST SP 800-63B-4'),
    amr: list(text(), 'Authentication methods, RFC 8176'),
    provedAt: time('When the factor was verified'),
    driftSteps: drift('Steps of 30 s by which the clock of the authenticator app is ahead'),
    backupCodesLeft: integer('How many codes are unused'),
  },
  ['driftSteps', 'backupCodesLeft'],
  // The option `elevate` adds members, such as new tokens.
  { additionalProperties: true },
)
export const newBackupCodes = object({ backupCodes: codes })
export const passkeyView = object({
  id: text('A short id, for the routes'),
  credentialId: text('The credential id of WebAuthn, base64url'),
  name: text('The name that the user chose'),
  createdAt: time('When it was enrolled'),
  lastUsedAt: time('When it was last used'),
  transports: list(text()),
  backupEligible: flag('Whether it may be copied to other devices'),
  backedUp: flag('Whether it has been copied'),
})
export const status = object({
  enrolled: flag('Whether there is an authenticator app or a passkey'),
  totp: {
    anyOf: [
      object({
        enrolledAt: time('When the authenticator app was enrolled'),
        driftSteps: drift('Steps of 30 s by which its clock was ahead at the last use'),
      }),
      { type: 'null' },
    ],
  },
  totpLocked: flag('Disabled after too many wrong codes in a row'),
  backupCodesLeft: integer('How many codes are unused'),
  passkeys: list(passkeyView),
  devices: list(
    object({
      id: text(),
      label: text('The user agent of the device'),
      createdAt: time('When it was remembered'),
      expiresAt: time('When it expires'),
    }),
  ),
})
/** Passed to the browser unchanged; WebAuthn defines the members. */
export const browserOptions = object({}, [], {
  additionalProperties: true,
  description: 'For parseCreationOptionsFromJSON or parseRequestOptionsFromJSON',
})
/** The result of the option `signIn`. */
export const signedIn = object({}, [], {
  additionalProperties: true,
  description: 'What the option signIn returns',
})

const member = { type: 'string' }

/** An error, in the form of Fastify's default error handler or of RFC 9457. */
export const problem = {
  type: 'object',
  properties: {
    code: text('PARAPET_MFA_…'),
    statusCode: { type: 'integer' },
    error: member,
    message: member,
    title: member,
    detail: member,
  },
  additionalProperties: true,
  description: 'The error',
}
