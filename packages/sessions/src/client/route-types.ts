/** Requests and responses of the routes, as a browser sees them. */

/** For `login`. */
export interface LoginCredentials {
  readonly login: string
  readonly password: string
}

/** A login that has ended: the tokens are in cookies. */
export interface SignedIn {
  readonly state: 'signed-in'
  /** Seconds until the access token expires; the client refreshes it by itself. */
  readonly expiresInSeconds: number
}

/** A login that waits for its second step. */
export interface SecondStep {
  readonly state: 'second-factor'
  /** For `finishLogin`; keep it in memory only. */
  readonly ticket: string
  /** `totp`, `backup-code`, `passkey` or what the service names. */
  readonly methods: readonly string[]
  /** Seconds until the ticket expires. */
  readonly expiresInSeconds: number
}

/** What finishes a login: one of `code` and `passkey`. */
export interface SecondStepProof {
  /** Without it, the ticket of a login at an identity provider is read from its cookie. */
  readonly ticket?: string
  /** As the user typed it. */
  readonly code?: string
  /** The `toJSON()` of a credential; `finishLoginWithPasskey` asks the browser for it. */
  readonly passkey?: object
  readonly rememberDevice?: boolean
}

/** One session of the user. Times are milliseconds since the Unix epoch. */
export interface OwnSession {
  readonly id: string
  /** Whether it is the session of this browser. */
  readonly current: boolean
  readonly startedAt: number
  readonly lastSeenAt: number
  readonly expiresAt: number
  /** How the user authenticated. @see RFC 8176 */
  readonly amr: readonly string[]
  /** What kind of device it is: `Firefox on Linux`. */
  readonly label: string
  /** What the user calls it. */
  readonly name?: string
  /** Approximately, where the service knows it: `Lyon, France`. */
  readonly place?: string
  /** The operator who acts as the user in this session. */
  readonly actorId?: string
  readonly ip?: string
  readonly userAgent?: string
}

/** One identity at a provider with which the user can log in. */
export interface OwnIdentity {
  /** For `unlinkIdentity`. */
  readonly id: string
  /** The name of the provider at the service. */
  readonly provider: string
  /** The user at the provider. */
  readonly subject: string
  /** Milliseconds since the Unix epoch. */
  readonly linkedAt: number
}

/** For `resetPassword`. */
export interface PasswordReset {
  /** From the link: what is behind `#token=`. */
  readonly token: string
  readonly password: string
  /** Whether API keys stay valid. @default false */
  readonly keepApiKeys?: boolean
}

/** For `verifyEmail`. */
export interface EmailVerification {
  /** From the link: what is behind `#token=`. */
  readonly token: string
  /** Of the sign-up. Not needed while the user is logged in, nor for the change of an address. */
  readonly password?: string
}

/** For `changePassword`. */
export interface PasswordChange {
  /** The password as it is. Not needed within five minutes after a second factor. */
  readonly current?: string
  readonly password: string
  /** Whether API keys stay valid. @default false */
  readonly keepApiKeys?: boolean
}

/** For `requestEmailChange`. */
export interface EmailChange {
  /** The password as it is. Not needed within five minutes after a second factor. */
  readonly current?: string
  /** The new address. */
  readonly email: string
}
