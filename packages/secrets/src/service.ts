/** What `app.secrets` does: loads, watches, examines and guards. */
import type { SecurityEvents } from '@parapet/kit'
import { examine, type Finding } from './doctor/doctor.ts'
import { createLeakGuard, type LeakGuard, type TeachableLeakGuard } from './leaks/leak-guard.ts'
import { createLeakReports, type ReportLeak } from './leaks/leak-reports.ts'
import type { SecretsSettings } from './options.ts'
import type { ApiKeyReports } from './rotation/api-key-options.ts'
import type { RotatingSecret } from './rotation/rotating-secret.ts'
import type { RotationHook } from './rotation/rotation-hooks.ts'
import { reasonOf } from './rotation/reason.ts'
import type { KeeperReports } from './rotation/secret-entry.ts'
import { SecretKeeper } from './rotation/secret-keeper.ts'
import { Secret } from './value/secret.ts'

/** The decorator `app.secrets`. */
export interface Secrets {
  /** A loaded secret; ask it at each use. @throws PARAPET_SECRETS_UNKNOWN */
  get(name: string): RotatingSecret
  /**
   * Runs a hook before a new value becomes current, in the order of registration. It may return a function
   * that undoes its work.
   *
   * @returns a function that removes the hook.
   * @throws PARAPET_SECRETS_UNKNOWN
   */
  onRotate(name: string, hook: RotationHook): () => void
  /** Reads a secret from its provider now, and rotates it if it has changed. */
  refresh(name: string): Promise<void>
  /** Examines all secrets, the configuration and the providers. */
  doctor(): Promise<readonly Finding[]>
  /** Finds and redacts loaded secrets in texts. */
  readonly leaks: LeakGuard
  /** The option `reports` of `rotateApiKeys`: its events, and its keys for the leak guard. */
  readonly reports: ApiKeyReports
}

/** The decorator, and how it ends. */
export interface SecretsService extends Secrets {
  readonly providerNames: readonly string[]
  readonly reportLeak: ReportLeak
  readonly close: () => Promise<void>
}

/** Of each API key, those of the last rotations. */
const MOST_KEYS = 8

/** Loads the secrets. @throws PARAPET_SECRETS_NOT_LOADED */
export async function openSecrets(
  settings: SecretsSettings,
  events: SecurityEvents,
  onError: (error: unknown) => void,
): Promise<SecretsService> {
  const reportLeak = createLeakReports(events, settings.clock)
  const guard = createLeakGuard((secret) => reportLeak(secret, 'log'))
  const reports = createReports(events, () => teach())
  const kept = Object.entries(settings.secrets).map(
    ([name, { path = name, ...rest }]) => [name, { ...rest, path }] as const,
  )
  const keeper = await SecretKeeper.open({
    ...settings,
    secrets: Object.fromEntries(kept),
    random: Math.random,
    reports,
    onError,
  })
  const configured = secretsIn(settings.config)
  const apiKeys = new Map<string, readonly Secret[]>()
  function teach(): void {
    const rotated = [...apiKeys].flatMap(([name, keys]) => keys.map((value) => ({ name, value })))
    teachGuard(guard, keeper, [...configured, ...rotated])
  }
  function keys(name: string, values: readonly Secret[]): void {
    const known = apiKeys.get(name) ?? []
    const unknown = values.filter((value) => !known.some((each) => each.equals(value)))
    if (unknown.length === 0) return
    apiKeys.set(name, [...known, ...unknown].slice(-MOST_KEYS))
    teach()
  }
  teach()
  const rotationAdvanced: ApiKeyReports['rotationAdvanced'] = (secret, rotationId, step) =>
    events.emit('secrets.rotation_advanced', { details: { secret, rotationId, step } })
  return {
    get: (name) => keeper.get(name),
    onRotate: (name, hook) => keeper.onRotate(name, hook),
    refresh: (name) => keeper.refresh(name),
    leaks: guard,
    reportLeak,
    reports: { ...reports, keys, rotationAdvanced },
    providerNames: [...keeper.providers].map(({ name }) => name),
    doctor: () =>
      examine({
        secrets: [
          ...keeper.slots.map(({ name, last, expiresAt }) => ({ name, value: last, expiresAt })),
          ...configured,
        ],
        plain: settings.config,
        providers: [...keeper.providers].map((provider) => ({
          provider,
          paths: kept.filter(([, each]) => each.provider === provider).map(([, each]) => each.path),
        })),
        accepted: settings.acceptWeak,
        now: settings.clock.now(),
        deadlineMs: settings.deadlineMs,
      }),
    close: () => keeper.close(),
  }
}

const DEEPEST = 5

/** The secrets in the configuration, at any depth; the name of a member of `db` is `db.password`. */
function secretsIn(
  config: Readonly<Record<string, unknown>>,
  prefix = '',
  depth = 0,
): { name: string; value: Secret }[] {
  return Object.entries(config).flatMap(([key, value]) => {
    const name = `${prefix}${key}`
    if (value instanceof Secret) return [{ name, value }]
    if (typeof value !== 'object' || value === null || depth >= DEEPEST) return []
    return secretsIn(value as Record<string, unknown>, `${name}.`, depth + 1)
  })
}

function teachGuard(
  guard: TeachableLeakGuard,
  keeper: SecretKeeper,
  configured: readonly { name: string; value: Secret }[],
): void {
  const loaded = keeper.slots.flatMap(({ name, known }) => known.map((value) => ({ name, value })))
  guard.learn([...loaded, ...configured])
}

function createReports(events: SecurityEvents, inUse: () => void): KeeperReports {
  return {
    inUse,
    rotated: (secret, version, overlapMs) =>
      events.emit('secrets.rotated', { details: { secret, version, overlapMs } }),
    rotationFailed: (secret, step, error) =>
      events.emit('secrets.rotation_failed', {
        details: { secret, step, reason: reasonOf(error) },
      }),
    expiring: (secret, expiresInMs) =>
      events.emit('secrets.expiring', { details: { secret, expiresInMs } }),
    stale: (secret, ageMs, error) =>
      events.emit('secrets.stale', { details: { secret, ageMs, reason: reasonOf(error) } }),
  }
}
