/** The options and schemas of every route. */
import {
  answerBody,
  confirmBody,
  idParams,
  nameBody,
  recoverBody,
  registerBody,
  userParams,
  verifyBody,
} from './request-schemas.ts'
import {
  browserOptions,
  empty,
  newBackupCodes,
  passkeyView,
  problem,
  signedIn,
  status,
  totpBegun,
  verified,
} from './response-schemas.ts'

interface Parts {
  readonly body?: object
  readonly params?: object
  /** @default 200 */
  readonly code?: number
}

/**
 * The rule is `'open'` because each handler checks the session itself. A session of an account that must enrol a
 * factor may use these routes and no others.
 */
const config = { mfa: 'open', sessions: 'enrolment' } as const
/**
 * For the plugins that authenticate and authorize requests, whatever their order: the login is public.
 * A caller who is already logged in with an expired token must be able to log in again.
 */
const loginConfig = {
  ...config,
  sessions: 'ignored',
  rbac: { public: 'the client has no session before the login' },
} as const

function describe(operationId: string, summary: string, success: object, parts: Parts = {}) {
  const { code = 200, ...input } = parts
  const response = { [code]: success, '4xx': problem, '5xx': problem }
  const schema = { operationId, summary, tags: ['mfa'], ...input, response }
  return { config, bodyLimit: 32_768, schema } as const
}

const created = { code: 201 } as const
const done = { code: 204 } as const

/** The options of each route. */
export const routes = Object.freeze({
  status: describe('mfaGetStatus', 'List what the caller has enrolled', status),
  forgetDevices: describe('mfaForgetDevices', 'Forget all remembered devices', empty, done),
  forgetDevice: describe('mfaForgetDevice', 'Forget a remembered device', empty, {
    params: idParams,
    ...done,
  }),
  recover: describe('mfaRecover', 'Remove all own factors with two backup codes', empty, {
    body: recoverBody,
    ...done,
  }),
  resetUser: describe('mfaResetUser', 'Remove all factors of a user, as administrator', empty, {
    params: userParams,
    ...done,
  }),
  beginTotp: describe('mfaBeginTotp', 'Begin to enrol an authenticator app', totpBegun, created),
  confirmTotp: describe(
    'mfaConfirmTotp',
    'Enrol the authenticator app with its first code',
    verified,
    { body: confirmBody },
  ),
  removeTotp: describe('mfaRemoveTotp', 'Remove the authenticator app', empty, done),
  verify: describe('mfaVerifyCode', 'Verify a code of the app, or a backup code', verified, {
    body: verifyBody,
  }),
  replaceBackupCodes: describe(
    'mfaReplaceBackupCodes',
    'Replace all backup codes',
    newBackupCodes,
    created,
  ),
  beginPasskey: describe('mfaBeginPasskey', 'Begin to enrol a passkey', browserOptions),
  addPasskey: describe('mfaAddPasskey', 'Enrol the passkey a browser created', passkeyView, {
    body: registerBody,
    ...created,
  }),
  renamePasskey: describe('mfaRenamePasskey', 'Rename a passkey', empty, {
    params: idParams,
    body: nameBody,
    ...done,
  }),
  revokePasskey: describe('mfaRevokePasskey', 'Revoke a passkey', empty, {
    params: idParams,
    ...done,
  }),
  beginProof: describe('mfaBeginPasskeyProof', 'Begin to verify a passkey', browserOptions),
  provePasskey: describe('mfaProvePasskey', 'Verify a passkey of the caller', verified, {
    body: answerBody,
  }),
  beginLogin: {
    ...describe('mfaBeginLogin', 'Begin to log in with any passkey', browserOptions),
    config: loginConfig,
  },
  login: {
    ...describe('mfaLogin', 'Log in with a passkey', signedIn, { body: answerBody }),
    config: loginConfig,
  },
})
