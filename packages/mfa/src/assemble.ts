/** Builds the service from the options. */
import { createMemoryStore, type Cipher, type Store } from '@parapet/kit'
import type { AccountRepository } from './account/account-repository.ts'
import { createSqlAccounts } from './account/accounts-postgres.ts'
import { createStoreAccounts } from './account/accounts-store.ts'
import { createAccounts } from './account/accounts.ts'
import { createBackupCodes, hashBackupCodes } from './backup-codes/backup-code.ts'
import { BackupCodes } from './backup-codes/backup-codes.ts'
import {
  applyProfile,
  cipherOf,
  deviationsOf,
  refuseOption,
  requireUnguessable,
} from './boot-checks.ts'
import { createDevices } from './devices/remembered-devices.ts'
import type { FactorContext, Notice } from './factors/context.ts'
import { createAddressLimits } from './limits/address-limits.ts'
import type { AttemptLimits } from './limits/wrong-codes.ts'
import type { MfaSettings } from './options.ts'
import type { PendingCeremony } from './passkeys/challenges.ts'
import { createPasskeys, type Passkeys } from './passkeys/passkeys.ts'
import { CEREMONY_MS } from './passkeys/webauthn-client-data.ts'
import type { Profiled } from './profiles/profile.ts'
import { createSessionProofs } from './proofs/session-proofs.ts'
import type { CallPort } from './service/call-port.ts'
import { createMfa, type Mfa } from './service/mfa.ts'
import { createResets, type RevokeSessions } from './service/reset-and-recovery.ts'
import { createOneTimeTokens, type OneTimeTokens } from './tokens/one-time-token.ts'
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
  /** The settings with the defaults of the profile. */
  readonly effective: Profiled
  /** Deviations from the standards, one sentence each. */
  readonly deviations: readonly string[]
  /** Closes the memory store if it was created here. */
  readonly close: () => Promise<void>
}

const TICKET_MS = 600_000

/**
 * Builds the service.
 *
 * @throws PARAPET_MFA_NO_KEY, PARAPET_MFA_GUESSABLE, PARAPET_MFA_INVALID_OPTION
 */
export function assemble(settings: MfaSettings, ports: Ports): Assembled {
  const cipher = cipherOf(settings)
  const effective = applyProfile(settings)
  const { window, learnedWindow, deviceMaxAgeSeconds } = effective
  const totp = { ...settings.totp, window, learnedWindow }
  const probability = requireUnguessable(settings, totp)
  const store = settings.store ?? createMemoryStore({ clock: settings.clock })
  const tokens = <T>(kind: string, ttlMs: number): OneTimeTokens<T> =>
    createOneTimeTokens<T>(store, cipher, kind, ttlMs)
  const context = createContext(settings, effective, ports, { store, cipher })
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
    passkeys: passkeysOf(settings, context, tokens('challenge', CEREMONY_MS)),
    devices: createDevices(context, { maxAgeSeconds: deviceMaxAgeSeconds }),
    deviceMaxAgeSeconds,
    resets: createResets(context, backupCodes, revokeSessionsOf(settings, ports.callPort)),
    guessProbability: probability,
  })
  const close = async () => {
    if (settings.store === undefined) await store.close()
  }
  return { mfa, context, effective, deviations: deviationsOf(settings, effective), close }
}

function createContext(
  settings: MfaSettings,
  { proofMaxAgeSeconds }: Profiled,
  { emit, onNotifyFailed }: Ports,
  { store, cipher }: { readonly store: Store; readonly cipher: Cipher },
): FactorContext {
  const now = (): number => settings.clock.now()
  return {
    accounts: createAccounts(repositoryOf(settings, store), cipher),
    sessionProofs: createSessionProofs(store, proofMaxAgeSeconds * 1000, now),
    addressLimits: createAddressLimits(store, addressLimitsOf(settings), now),
    now,
    limits: settings.throttle,
    emit,
    notify: (notice) => void notify(settings, { ...notice, at: now() }, onNotifyFailed),
  }
}

function passkeysOf(
  { passkeys, issuer }: MfaSettings,
  factors: FactorContext,
  challenges: OneTimeTokens<PendingCeremony>,
): Passkeys | undefined {
  if (passkeys === undefined) return undefined
  return createPasskeys({ factors, relyingParty: { ...passkeys, rpName: issuer }, challenges })
}

function revokeSessionsOf({ revokeSessions }: MfaSettings, callPort: CallPort): RevokeSessions {
  if (revokeSessions === undefined) return async () => {}
  return (userId) => callPort('revokeSessions', () => revokeSessions(userId))
}

function repositoryOf({ accounts, sql }: MfaSettings, store: Store): AccountRepository {
  if (accounts !== undefined && sql !== undefined) {
    refuseOption('"sql" and "accounts" exclude each other, got both: remove one')
  }
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
