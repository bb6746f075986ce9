/** Where a session came from, and whose sessions a provider ends. */

/** The login at a provider from which a session came. */
export interface SessionOrigin {
  readonly provider: string
  readonly subject: string
  /** The session at the provider, where it names it. */
  readonly sid: string | null
  /** The time of the ID token, in seconds since the Unix epoch. */
  readonly issuedAt: number
}

/** Whose logout a provider reports: of one of its sessions, or of all sessions of a subject. */
export interface ProviderLogout {
  readonly provider: string
  readonly subject: string | null
  /** Decides, where it is present. */
  readonly sid: string | null
  /** In seconds since the Unix epoch: later logins go on. */
  readonly issuedAt: number
}
