/** What rules count: one thing that happened, reduced to who, what and when. */

/** One thing that happened. All texts that could identify a secret or an account are keyed hashes. */
export interface Signal {
  /**
   * The plugin makes `request` (every finished one that it did not refuse), `unmatched` (no route matched),
   * `resource` (the route has a parameter), `login-failed`, `login-succeeded`, `access-denied`, `token-refused`,
   * `rate-limited`, `session-moved`, `payload-attack` and `detection-point`. Tags of routes, such as `export` and
   * `file`, and detection points are signals of their own names.
   */
  readonly name: string
  /** Milliseconds that never go back; the same clock for all signals of a process. */
  readonly atMs: number
  /** The client address: IPv4, or the /64 of IPv6. */
  readonly address: string
  readonly principalId?: string | undefined
  readonly sessionId?: string | undefined
  /** The account that a login aims at. */
  readonly account?: string | undefined
  /** The password or code that was tried. */
  readonly secret?: string | undefined
  /** Method and pattern of the route. */
  readonly route?: string | undefined
  /** The id in the path, or the path itself where no route matched. */
  readonly resource?: string | undefined
  /** Bytes of the response, or another quantity. */
  readonly amount?: number | undefined
  readonly statusCode?: number | undefined
  /** What moved with a session: `client`, `country`, or both. */
  readonly moved?: string | undefined
  /**
   * `allowed`: the option `allow` names the client, so that nothing is done about it. `cross-site`: another
   * site, or what a page embeds, made the browser ask; the visitor is challenged at most, and counted apart.
   */
  readonly origin?: 'allowed' | 'cross-site' | undefined
  /** It happened on another instance. */
  readonly isForeign?: boolean | undefined
}

/** By whom or by what a rule counts. `client` is the principal, or the address of anonymous requests. */
export type SignalKey =
  | 'address'
  | 'principalId'
  | 'sessionId'
  | 'account'
  | 'secret'
  | 'route'
  | 'resource'
  | 'client'
  | 'everyone'

/** The text of a key, or `undefined` where the signal has none. */
export function keyOf(signal: Signal, key: SignalKey): string | undefined {
  // The id of a principal may look like an address.
  if (key === 'client') {
    return signal.principalId === undefined ? signal.address : `principal ${signal.principalId}`
  }
  return key === 'everyone' ? 'everyone' : signal[key]
}
