/** Backup codes, shown once. */
import { Dialog } from '../ui/dialog.tsx'

/** The dialog with new codes. */
export function BackupCodes({
  codes,
  onClose,
}: {
  readonly codes: readonly string[]
  readonly onClose: () => void
}) {
  return (
    <Dialog title="New backup codes" onClose={onClose}>
      <p class="dialog-text">The old codes no longer work. These are shown once:</p>
      <CodeGrid codes={codes} />
      <button type="button" class="button button-primary button-wide" onClick={onClose}>
        I have saved them
      </button>
    </Dialog>
  )
}

/** The codes in two columns. */
export function CodeGrid({ codes }: { readonly codes: readonly string[] }) {
  return (
    <ul class="codes">
      {codes.map((code) => (
        <li key={code}>
          <code>{code}</code>
        </li>
      ))}
    </ul>
  )
}
