/** Checks what a rule names: a misspelt name would silently do nothing. */

/** The members that name something. */
interface Members {
  readonly on: unknown
  readonly by: unknown
  readonly count?: string | { readonly distinct?: unknown } | null
  readonly also?: Readonly<Record<string, unknown>>
  readonly respond?: readonly unknown[]
  readonly mode?: unknown
  readonly severity?: unknown
  readonly where?: unknown
  readonly allowance?: { readonly on?: unknown; readonly distinct?: unknown } | undefined
}

const KEYS = new Set<unknown>([
  'address',
  'principalId',
  'sessionId',
  'account',
  'secret',
  'route',
  'resource',
  'client',
  'everyone',
])
const RESPONSES = new Set<unknown>([
  'block-address',
  'block-principal',
  'tighten',
  'challenge',
  'challenge-account',
  'step-up',
  'revoke',
])
const MODES = new Set<unknown>(['shadow', 'alert', 'enforce'])
const SEVERITIES = new Set<unknown>(['info', 'low', 'medium', 'high', 'critical'])

const isKey = (key: unknown): boolean => KEYS.has(key)

/** Calls `refuse` for the first member that is wrong. */
export function checkMembers(
  definition: Members,
  refuse: (what: string, problem: string) => never,
): void {
  const { on, by, count, also = {}, respond, mode, severity, where } = definition
  const counted = typeof count === 'object' ? [count?.distinct] : []
  const texts: readonly unknown[] = Array.isArray(on) ? on : [on]
  if (texts.length === 0 || texts.some((each) => typeof each !== 'string' || each === '')) {
    refuse('on', 'must be names of signals')
  }
  const keys: readonly unknown[] = Array.isArray(by) ? by : [by]
  if (keys.length < 1 || keys.length > 2 || !keys.every(isKey)) {
    refuse('by', `must be one or two of ${[...KEYS].join(', ')}`)
  }
  const isKnown =
    typeof count === 'object' || count === undefined || count === 'signals' || count === 'amount'
  if (!isKnown || ![...counted, ...Object.values(also)].every(isKey)) {
    refuse('count or also', `must name one of ${[...KEYS].join(', ')}`)
  }
  if (respond?.every((each) => RESPONSES.has(each)) === false) {
    refuse('respond', `must be a list of ${[...RESPONSES].join(', ')}`)
  }
  if (mode !== undefined && !MODES.has(mode)) refuse('mode', 'must be shadow, alert or enforce')
  if (severity !== undefined && !SEVERITIES.has(severity)) {
    refuse('severity', 'must be info, low, medium, high or critical')
  }
  const { allowance } = definition
  if (allowance !== undefined && !(typeof allowance.on === 'string' && isKey(allowance.distinct))) {
    refuse('allowance', `must have "on", a signal, and "distinct", one of ${[...KEYS].join(', ')}`)
  }
  if (where !== undefined && typeof where !== 'function') refuse('where', 'must be a function')
}
