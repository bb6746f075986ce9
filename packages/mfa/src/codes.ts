/** Codes that people type, whichever kind they are. */
import type { CodeVerified } from './attempts.ts'
import { BackupProofs } from './backup-proofs.ts'
import type { Core, Origin } from './core.ts'
import { TotpProofs, type TotpProofSettings } from './totp-proofs.ts'

/** Both kinds of codes. */
export interface Codes {
  readonly totp: TotpProofs
  readonly backup: BackupProofs
  /** Proves whichever kind the text is: as many digits as an app shows, or a backup code. */
  readonly verify: (userId: string, code: string, origin?: Origin) => Promise<CodeVerified>
}

/** Joins both kinds to their accounts. */
export function createCodes(
  core: Core,
  settings: TotpProofSettings & { readonly backupCodes: number },
): Codes {
  const totp = new TotpProofs(core, settings)
  const backup = new BackupProofs(core, settings.backupCodes)
  return {
    totp,
    backup,
    verify: (userId, code, origin = {}) =>
      totp.reads(code) ? totp.verify(userId, code, origin) : backup.verify(userId, code, origin),
  }
}
