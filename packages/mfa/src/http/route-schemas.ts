/** The options and schemas of every route. */
import type { TSchema } from '@sinclair/typebox'
import {
  AnswerBody,
  ConfirmBody,
  IdParams,
  NameBody,
  RecoverBody,
  RegisterBody,
  UserParams,
  VerifyBody,
} from './request-schemas.ts'
import {
  BrowserOptions,
  Empty,
  NewBackupCodes,
  PasskeyView,
  Problem,
  SignedIn,
  Status,
  TotpBegun,
  Verified,
} from './response-schemas.ts'

interface Parts {
  readonly body?: TSchema
  readonly params?: TSchema
  /** @default 200 */
  readonly status?: number
}

/** The rule is `'open'` because each handler checks the session itself. */
function describe(operationId: string, summary: string, success: TSchema, parts: Parts = {}) {
  const { status = 200, ...input } = parts
  const response = { [status]: success, '4xx': Problem, '5xx': Problem }
  const schema = { operationId, summary, tags: ['mfa'], ...input, response }
  return { config: { mfa: 'open' }, bodyLimit: 32_768, schema } as const
}

const created = { status: 201 } as const
const done = { status: 204 } as const

/** The options of each route. */
export const routes = Object.freeze({
  status: describe('mfaGetStatus', 'List what the caller has enrolled', Status),
  forgetDevices: describe('mfaForgetDevices', 'Forget all remembered devices', Empty, done),
  forgetDevice: describe('mfaForgetDevice', 'Forget a remembered device', Empty, {
    params: IdParams,
    ...done,
  }),
  recover: describe('mfaRecover', 'Remove all own factors with two backup codes', Empty, {
    body: RecoverBody,
    ...done,
  }),
  resetUser: describe('mfaResetUser', 'Remove all factors of a user, as administrator', Empty, {
    params: UserParams,
    ...done,
  }),
  beginTotp: describe('mfaBeginTotp', 'Begin to enrol an authenticator app', TotpBegun, created),
  confirmTotp: describe(
    'mfaConfirmTotp',
    'Enrol the authenticator app with its first code',
    Verified,
    { body: ConfirmBody },
  ),
  removeTotp: describe('mfaRemoveTotp', 'Remove the authenticator app', Empty, done),
  verify: describe('mfaVerifyCode', 'Verify a code of the app, or a backup code', Verified, {
    body: VerifyBody,
  }),
  replaceBackupCodes: describe(
    'mfaReplaceBackupCodes',
    'Replace all backup codes',
    NewBackupCodes,
    created,
  ),
  beginPasskey: describe('mfaBeginPasskey', 'Begin to enrol a passkey', BrowserOptions),
  addPasskey: describe('mfaAddPasskey', 'Enrol the passkey a browser created', PasskeyView, {
    body: RegisterBody,
    ...created,
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
  beginProof: describe('mfaBeginPasskeyProof', 'Begin to verify a passkey', BrowserOptions),
  provePasskey: describe('mfaProvePasskey', 'Verify a passkey of the caller', Verified, {
    body: AnswerBody,
  }),
  beginLogin: describe('mfaBeginLogin', 'Begin to log in with any passkey', BrowserOptions),
  login: describe('mfaLogin', 'Log in with a passkey', SignedIn, { body: AnswerBody }),
})
