/** Schemas of responses. */
import { Type } from '@sinclair/typebox'

const time = (description: string) =>
  Type.Integer({ description: `${description}, in milliseconds since the Unix epoch` })
const codes = Type.Array(Type.String(), {
  description: 'The backup codes; they cannot be read again',
})
const drift = (description: string) => Type.Union([Type.Integer(), Type.Null()], { description })

export const Empty = Type.Null({ description: 'Done' })
export const TotpBegun = Type.Object({
  ticket: Type.String({ description: 'Send it back with the first code' }),
  secret: Type.String({ description: 'The secret, base32, for users who cannot scan' }),
  uri: Type.String({ description: 'The otpauth: URI for the authenticator app' }),
  qr: Type.Object(
    {
      dataUrl: Type.String({ description: 'A PNG' }),
      svg: Type.String({ description: 'An SVG document' }),
    },
    { description: 'The URI as a QR code' },
  ),
  backupCodes: codes,
  expiresAt: time('When the ticket expires'),
})
export const Verified = Type.Object({
  method: Type.String({ description: 'totp, backup-code or passkey' }),
  aal: Type.Integer({ description: 'Authenticator assurance level, NIST SP 800-63B-4' }),
  amr: Type.Array(Type.String(), { description: 'Authentication methods, RFC 8176' }),
  provedAt: time('When the factor was verified'),
  driftSteps: Type.Optional(
    drift('Steps of 30 s by which the clock of the authenticator app is ahead'),
  ),
  backupCodesLeft: Type.Optional(Type.Integer({ description: 'How many codes are unused' })),
})
export const NewBackupCodes = Type.Object({ backupCodes: codes })
export const PasskeyView = Type.Object({
  id: Type.String({ description: 'The credential id, base64url' }),
  name: Type.String({ description: 'The name that the user chose' }),
  createdAt: time('When it was enrolled'),
  lastUsedAt: time('When it was last used'),
  transports: Type.Array(Type.String()),
  backupEligible: Type.Boolean({ description: 'Whether it may be copied to other devices' }),
  backedUp: Type.Boolean({ description: 'Whether it has been copied' }),
})
export const Status = Type.Object({
  enrolled: Type.Boolean({ description: 'Whether there is an authenticator app or a passkey' }),
  totp: Type.Union([
    Type.Object({
      enrolledAt: time('When the authenticator app was enrolled'),
      driftSteps: drift('Steps of 30 s by which its clock was ahead at the last use'),
    }),
    Type.Null(),
  ]),
  totpLocked: Type.Boolean({ description: 'Disabled after too many wrong codes in a row' }),
  backupCodesLeft: Type.Integer({ description: 'How many codes are unused' }),
  passkeys: Type.Array(PasskeyView),
  devices: Type.Array(
    Type.Object({
      id: Type.String(),
      label: Type.String({ description: 'The user agent of the device' }),
      createdAt: time('When it was remembered'),
      expiresAt: time('When it expires'),
    }),
  ),
})
/** Passed to the browser unchanged; WebAuthn defines the members. */
export const BrowserOptions = Type.Object(
  {},
  {
    additionalProperties: true,
    description: 'For parseCreationOptionsFromJSON or parseRequestOptionsFromJSON',
  },
)
/** The result of the option `signIn`. */
export const SignedIn = Type.Object(
  {},
  { additionalProperties: true, description: 'What the option signIn returns' },
)

const text = Type.Optional(Type.String())

/** An error, in the form of Fastify's default error handler or of RFC 9457. */
export const Problem = Type.Object(
  {
    code: Type.Optional(Type.String({ description: 'PARAPET_MFA_…' })),
    statusCode: Type.Optional(Type.Integer()),
    error: text,
    message: text,
    title: text,
    detail: text,
  },
  { additionalProperties: true, description: 'The error' },
)
