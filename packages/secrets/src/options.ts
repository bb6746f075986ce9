/** The options, their defaults, and the function that reads and checks them. */
import {
  option,
  optionGroup,
  readOptions,
  systemClock,
  type Clock,
  type OptionReader,
  type OptionSettings,
} from '@parapet/kit'
import { PARAPET_SECRETS_INVALID_OPTION } from './errors.ts'
import type { SecretsProvider } from './providers/provider.ts'
import { Secret } from './value/secret.ts'

/** Where a secret is, and how it is kept. */
export interface SecretOptions {
  readonly provider: SecretsProvider
  /** What the provider calls it. @default the name of the secret */
  readonly path?: string
  /** How long the former value is accepted after a rotation, 0 to 2 147 483 647. @default 3 600 000 */
  readonly overlapMs?: number
  /** How often the provider is asked, 1000 to 86 400 000. @default 300 000 */
  readonly refreshMs?: number
  /** How long a value is used that could not be refreshed, 1000 to 2 592 000 000. @default 86 400 000 */
  readonly maxStaleMs?: number
}

/** The options of the plugin. */
export interface SecretsOptions {
  /** The secrets by name. All of them are loaded at boot; one that is missing stops it. */
  readonly secrets?: Readonly<Record<string, SecretOptions>>
  /** Configuration that `doctor` examines: members that are `Secret` count as secrets. @default {} */
  readonly config?: Readonly<Record<string, unknown>>
  /** `production`: errors that `doctor` finds stop the boot. @default `NODE_ENV`, else development */
  readonly environment?: string
  /** Whether `doctor` runs at boot. @default true */
  readonly doctor?: boolean
  /**
   * Secrets that may be weak, with the reason, for instance a password of a local service. By the name of a
   * provider, such as `files`: its findings only warn. @default {}
   */
  readonly acceptWeak?: Readonly<Record<string, string>>
  /** What happens to a reply with a loaded secret. @default 'refuse', in production 'off' */
  readonly leakGuard?: 'refuse' | 'report' | 'off'
  /** The share of `refreshMs` by which refreshes are spread, 0 to 0.5. @default 0.2 */
  readonly jitterRatio?: number
  /**
   * How long a provider may take, 1 to 600 000. At boot it may be asked twice, which has to fit into the
   * `pluginTimeout` of Fastify. @default 4000
   */
  readonly deadlineMs?: number
  /** How long each hook of `onRotate` may take, 1 to 600 000. @default 30 000 */
  readonly hookDeadlineMs?: number
  /** How long before the expiry `secrets.expiring` is emitted, 0 to 31 536 000 000. @default 604 800 000 */
  readonly warnBeforeMs?: number
  readonly clock?: Clock
}

const secretTable = {
  provider: option.port<SecretsProvider>(['read']),
  path: option.optional(option.text()),
  overlapMs: option.milliseconds({ min: 0, max: 2_147_483_647, default: 3_600_000 }),
  refreshMs: option.milliseconds({ min: 1000, max: 86_400_000, default: 300_000 }),
  maxStaleMs: option.milliseconds({ min: 1000, max: 2_592_000_000, default: 86_400_000 }),
} satisfies Record<keyof SecretOptions, OptionReader<unknown>>

const isConfig = (value: unknown): boolean =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Secret)

/** The table of readers; a test compares the README with it. */
export const optionTable = {
  secrets: option.map(optionGroup(secretTable), { default: {} }),
  config: option.custom<Readonly<Record<string, unknown>>>(
    (value) => (isConfig(value) ? undefined : 'must be an object'),
    { default: {} },
  ),
  environment: option.optional(option.text({ max: 64 })),
  doctor: option.boolean({ default: true }),
  acceptWeak: option.map(option.text(), { default: {} }),
  leakGuard: option.optional(option.oneOf(['refuse', 'report', 'off'])),
  jitterRatio: option.ratio({ max: 0.5, default: 0.2 }),
  deadlineMs: option.milliseconds({ max: 600_000, default: 4000 }),
  hookDeadlineMs: option.milliseconds({ max: 600_000, default: 30_000 }),
  warnBeforeMs: option.milliseconds({ min: 0, max: 31_536_000_000, default: 604_800_000 }),
  clock: option.port<Clock>(['now', 'schedule'], { default: systemClock }),
} satisfies Record<keyof SecretsOptions, OptionReader<unknown>>

/** The options with all defaults. */
export interface SecretsSettings extends Omit<
  OptionSettings<typeof optionTable>,
  'environment' | 'leakGuard'
> {
  readonly isProduction: boolean
  readonly leakGuard: 'refuse' | 'report' | 'off'
}

/** Reads the options at boot. @throws PARAPET_SECRETS_INVALID_OPTION */
export function resolveOptions(options: unknown): SecretsSettings {
  const {
    environment = process.env['NODE_ENV'],
    leakGuard,
    ...settings
  } = readOptions('@parapet/secrets', options, optionTable, PARAPET_SECRETS_INVALID_OPTION)
  const isProduction = environment === 'production'
  return { ...settings, isProduction, leakGuard: leakGuard ?? (isProduction ? 'off' : 'refuse') }
}
