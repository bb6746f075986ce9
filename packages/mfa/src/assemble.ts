/** From options to the core: what is checked and made once, at boot. */
import { createLocalCipher, createMemoryStore, parseCipherKeys, type Cipher } from '@parapet/kit'
import { createAccounts, type AccountRepository } from './accounts.ts'
import { createSqlAccounts } from './accounts-postgres.ts'
import { createStoreAccounts } from './accounts-store.ts'
import { CEREMONY_MS } from './ceremonies.ts'
import { createCodes } from './codes.ts'
import type { Core, Notice } from './core.ts'
import { createDevices } from './devices.ts'
import { PARAPET_MFA_GUESSABLE, PARAPET_MFA_INVALID_OPTION, PARAPET_MFA_NO_KEY } from './errors.ts'
import { createMfa, type Mfa } from './mfa.ts'
import { createOneTime } from './one-time.ts'
import type { MfaSettings } from './options.ts'
import { Passkeys, type PendingCeremony } from './passkeys.ts'
import { deviationsOf, profiles, type Profiled } from './profile.ts'
import { createMarks } from './proof.ts'
import { createResets } from './resets.ts'
import { guessProbability, type ThrottleSettings } from './throttle.ts'
import { createAddressGate } from './throttle-ip.ts'
import type { PendingTotp } from './totp-proofs.ts'

/** What the wiring gives the core. */
export interface Ports {
  readonly emit: Core['emit']
  readonly onNotifyFailed: (error: unknown) => void
}

/** The core, and what the wiring needs of it beside `app.mfa`. */
export interface Assembled {
  readonly mfa: Mfa
  readonly core: Core
  readonly effective: Profiled
  readonly deviations: readonly string[]
  /** Closes what was made here, not what was given. */
  readonly close: () => Promise<void>
}

const TICKET_MS = 600_000

/**
 * Puts the core together.
 *
 * @throws PARAPET_MFA_NO_KEY, PARAPET_MFA_GUESSABLE, PARAPET_MFA_INVALID_OPTION
 */
export function assemble(settings: MfaSettings, ports: Ports): Assembled {
  const cipher = cipherOf(settings)
  const effective = profiledBy(settings)
  const { window, learnedWindow } = effective
  const totp = { ...settings.totp, window, learnedWindow }
  const probability = requireUnguessable(settings, window)
  const now = (): number => settings.clock.now()
  const store = settings.store ?? createMemoryStore({ clock: settings.clock })
  const core: Core = {
    accounts: createAccounts(
      repositoryOf(settings, () => createStoreAccounts(store)),
      cipher,
    ),
    marks: createMarks(store, effective.proofMaxAgeSeconds * 1000, now),
    gate: createAddressGate(store, addressLimits(settings), now),
    now,
    throttle: settings.throttle,
    emit: ports.emit,
    notify: (notice) => void tell(settings, { ...notice, at: now() }, ports.onNotifyFailed),
  }
  const codes = createCodes(core, {
    issuer: settings.issuer,
    totp,
    backupCodes: settings.backupCodes,
    tickets: createOneTime<PendingTotp>(store, cipher, 'ticket', TICKET_MS),
    ticketTtlMs: TICKET_MS,
  })
  const passkeys =
    settings.passkeys &&
    new Passkeys(
      core,
      { ...settings.passkeys, rpName: settings.issuer },
      createOneTime<PendingCeremony>(store, cipher, 'challenge', CEREMONY_MS),
    )
  return {
    mfa: createMfa({
      core,
      codes,
      passkeys,
      devices: createDevices(core, { maxAgeSeconds: effective.deviceMaxAgeSeconds }),
      resets: createResets(core, codes.backup, settings.revokeSessions ?? (async () => {})),
      guessProbability: probability,
    }),
    core,
    effective,
    deviations: toldDeviations(settings, effective),
    close: async () => {
      if (settings.store === undefined) await store.close()
    },
  }
}

function toldDeviations(settings: MfaSettings, effective: Profiled): string[] {
  const { passkeys, notify, revokeSessions, profile } = settings
  const graced = Object.entries(settings.roles).filter(([, role]) => role.graceSeconds > 0)
  const found = {
    ...effective,
    hasPasskeys: passkeys !== undefined,
    tellsUsers: notify !== undefined,
    endsSessions: revokeSessions !== undefined,
    gracedRoles: graced.map(([role]) => role),
  }
  return deviationsOf(found, profile)
}

function cipherOf({ cipher, keys }: MfaSettings): Cipher {
  if (cipher !== undefined && keys !== undefined) refuse('cipher', 'and "keys" exclude each other')
  if (cipher !== undefined) return cipher
  if (keys === undefined) throw new PARAPET_MFA_NO_KEY()
  try {
    return createLocalCipher(parseCipherKeys(keys))
  } catch (error) {
    return refuse('keys', (error as Error).message)
  }
}

function repositoryOf(
  { accounts, sql }: MfaSettings,
  byStore: () => AccountRepository,
): AccountRepository {
  if (accounts !== undefined && sql !== undefined)
    refuse('sql', 'and "accounts" exclude each other')
  return accounts ?? (sql === undefined ? byStore() : createSqlAccounts(sql))
}

function addressLimits({ throttle }: MfaSettings): ThrottleSettings {
  // Addresses only wait: none is shut out for good, for they change hands.
  const open = { hardStop: Infinity, failuresPer30Days: Infinity }
  return { ...throttle, ...open, freeAttempts: throttle.freeAttemptsPerAddress }
}

function profiledBy(settings: MfaSettings): Profiled {
  const defaults = profiles[settings.profile ?? 'none']
  const window = settings.totp.window ?? defaults.window
  const learnedWindow = settings.totp.learnedWindow ?? Math.min(window, defaults.learnedWindow)
  if (learnedWindow > window) refuse('totp.learnedWindow', `must be at most totp.window, ${window}`)
  return {
    window,
    learnedWindow,
    deviceMaxAgeSeconds: settings.deviceMaxAgeSeconds ?? defaults.deviceMaxAgeSeconds,
    proofMaxAgeSeconds: settings.proofMaxAgeSeconds ?? defaults.proofMaxAgeSeconds,
  }
}

function requireUnguessable(settings: MfaSettings, window: number): number {
  const { totp, throttle, backupCodes, maxGuessProbability } = settings
  const probability = guessProbability({ digits: totp.digits, window }, throttle, backupCodes)
  if (probability <= maxGuessProbability) return probability
  throw new PARAPET_MFA_GUESSABLE(
    probability.toPrecision(3),
    String(maxGuessProbability),
    `${throttle.failuresPer30Days} attempts at ${2 * window + 1} live codes of ${totp.digits} digits; ` +
      'lower throttle.failuresPer30Days or totp.window, or raise totp.digits',
  )
}

async function tell(
  { notify }: MfaSettings,
  notice: Notice,
  onFailed: (error: unknown) => void,
): Promise<void> {
  try {
    await notify?.(notice)
  } catch (error) {
    onFailed(error)
  }
}

function refuse(option: string, problem: string): never {
  throw new PARAPET_MFA_INVALID_OPTION('@parapet/mfa', `  ${option}: ${problem}`)
}
