/** Builds the service from the options. */
import { createMemoryStore, type Store } from '@parapet/kit'
import { createAccountCipher, wrapCipher, type AccountCipher } from './account/account-cipher.ts'
import type { AccountRepository } from './account/account-repository.ts'
import { createSqlAccounts } from './account/accounts-postgres.ts'
import { createStoreAccounts } from './account/accounts-store.ts'
import { createAccounts } from './account/accounts.ts'
import { BACKUP_CODE_BITS, createBackupCodes, hashBackupCodes } from './backup-codes/backup-code.ts'
import { BackupCodes } from './backup-codes/backup-codes.ts'
import { createDevices } from './devices/remembered-devices.ts'
import { PARAPET_MFA_NO_KEY } from './errors.ts'
import type { FactorContext, Notice } from './factors/context.ts'
import { createAddressLimits } from './limits/address-limits.ts'
import { createImport } from './service/import-factors.ts'
import { guessProbability, requireUnguessable } from './limits/guess-probability.ts'
import type { AttemptLimits } from './limits/wrong-codes.ts'
import { refuseOption, type MfaSettings } from './options.ts'
import type { PendingCeremony } from './passkeys/challenges.ts'
import type { Passkeys } from './passkeys/passkeys.ts'
import { createSessionProofs } from './proofs/session-proofs.ts'
import type { CallPort } from './service/call-port.ts'
import { createMfa, type Mfa } from './service/mfa.ts'
import { createResets, type RevokeSessions } from './service/reset-and-recovery.ts'
import { createOneTimeTokens, type OneTimeTokens } from './tokens/one-time-token.ts'
import { liveCodes } from './totp/totp-code.ts'
import { TotpEnrolments } from './totp/totp-enrolment.ts'
import { createTotpVerification } from './totp/totp-verification.ts'

/** What the plugin gives the service. */
export interface Ports {
  readonly emit: FactorContext['emit']
  readonly onNotifyFailed: (error: unknown) => void
  readonly callPort: CallPort
}

/** The service, and what else the plugin needs. */
export interface Assembled {
  readonly mfa: Mfa
  readonly context: FactorContext
  /** Closes the memory store if it was created here. */
  readonly close: () => Promise<void>
}

type CreateTokens = <T>(kind: string, ttlMs: number) => OneTimeTokens<T>

const TICKET_MS = 600_000

/**
 * Builds the service.
 *
 * @throws PARAPET_MFA_NO_KEY, PARAPET_MFA_GUESSABLE, PARAPET_MFA_INVALID_OPTION
 */
export async function assemble(settings: MfaSettings, ports: Ports): Promise<Assembled> {
  const sealing = cipherOf(settings)
  const { cipher } = sealing
  const { totp, deviceMaxAgeSeconds } = settings
  const probability = guessProbabilityOf(settings)
  const store = settings.store ?? createMemoryStore({ clock: settings.clock })
  const tokens: CreateTokens = (kind, ttlMs) => createOneTimeTokens(store, cipher, kind, ttlMs)
  const context = createContext(settings, ports, store, sealing)
  const backupCodes = new BackupCodes(context, settings.backupCodes)
  const mfa = createMfa({
    context,
    totpEnrolments: new TotpEnrolments(context, {
      issuer: settings.issuer,
      totp,
      backupCodes: {
        create: () => createBackupCodes(settings.backupCodes),
        hash: hashBackupCodes,
      },
      tickets: tokens('ticket', TICKET_MS),
      ticketTtlMs: TICKET_MS,
    }),
    totpVerification: createTotpVerification(context, totp),
    backupCodes,
    passkeys: await loadPasskeys(settings, context, tokens),
    devices: createDevices(context, { maxAgeSeconds: deviceMaxAgeSeconds }),
    deviceMaxAgeSeconds,
    resets: createResets(context, backupCodes, revokeSessionsOf(settings, ports.callPort)),
    guessProbability: probability,
    importFactors: createImport({ context, isGuessable: createGuessRule(settings) }),
  })
  const close = async () => {
    if (settings.store === undefined) await store.close()
  }
  return { mfa, context, close }
}

function createContext(
  settings: MfaSettings,
  { emit, onNotifyFailed }: Ports,
  store: Store,
  sealing: AccountCipher,
): FactorContext {
  const now = (): number => settings.clock.now()
  return {
    accounts: createAccounts(repositoryOf(settings, store), sealing, settings.clock),
    sessionProofs: createSessionProofs(store, settings.proofMaxAgeSeconds * 1000, now),
    addressLimits: createAddressLimits(store, addressLimitsOf(settings), now),
    now,
    limits: settings.throttle,
    emit,
    notify: (notice) => void notify(settings, { ...notice, at: now() }, onNotifyFailed),
  }
}

function cipherOf({ cipher, keys }: MfaSettings): AccountCipher {
  if (cipher !== undefined) return wrapCipher(cipher)
  if (keys === undefined) throw new PARAPET_MFA_NO_KEY()
  try {
    return createAccountCipher(keys)
  } catch (error) {
    return refuseOption(`"keys" cannot be read: ${(error as Error).message}`)
  }
}

function guessProbabilityOf(settings: MfaSettings): number {
  const { totp, maxGuessProbability } = settings
  return requireUnguessable(guessSettingsOf(settings, totp.digits), maxGuessProbability)
}

/** An imported app may have fewer digits than the options say. */
function createGuessRule(settings: MfaSettings): (digits: number) => boolean {
  return (digits) =>
    guessProbability(guessSettingsOf(settings, digits)) > settings.maxGuessProbability
}

function guessSettingsOf({ totp, throttle, backupCodes }: MfaSettings, digits: number) {
  const { failuresPer30Days } = throttle
  const codes = { digits, liveCodes: liveCodes(totp), failuresPer30Days }
  return { ...codes, backupCodes, backupCodeBits: BACKUP_CODE_BITS }
}

/** Passkeys, and the library that verifies them, take longer to load than all the rest. */
async function loadPasskeys(
  { passkeys, issuer }: MfaSettings,
  factors: FactorContext,
  tokens: CreateTokens,
): Promise<Passkeys | undefined> {
  if (passkeys === undefined) return undefined
  const { CHALLENGE_MS, createPasskeys } = await import('./passkeys/passkeys.ts')
  const challenges = tokens<PendingCeremony>('challenge', CHALLENGE_MS)
  return createPasskeys({ factors, relyingParty: { ...passkeys, rpName: issuer }, challenges })
}

function revokeSessionsOf({ revokeSessions }: MfaSettings, callPort: CallPort): RevokeSessions {
  if (revokeSessions === undefined) return async () => {}
  return (userId) => callPort('revokeSessions', () => revokeSessions(userId))
}

function repositoryOf({ accounts, sql }: MfaSettings, store: Store): AccountRepository {
  return accounts ?? (sql === undefined ? createStoreAccounts(store) : createSqlAccounts(sql))
}

/** Addresses only wait. They are never disabled, because they are shared and reassigned. */
function addressLimitsOf({ throttle }: MfaSettings): AttemptLimits {
  const unlimited = { hardStop: Infinity, failuresPer30Days: Infinity }
  return { ...throttle, ...unlimited, freeAttempts: throttle.freeAttemptsPerAddress }
}

async function notify(
  { notify: notifyUser }: MfaSettings,
  notice: Notice,
  onFailed: (error: unknown) => void,
): Promise<void> {
  try {
    await notifyUser?.(notice)
  } catch (error) {
    onFailed(error)
  }
}
