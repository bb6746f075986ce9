/** Enrols an authenticator app: scan the code, save the backup codes, type the first code. */
import { useMemo, useState } from 'preact/hooks'
import { encode } from 'uqr'
import { send } from '../api/client.ts'
import { Dialog } from '../ui/dialog.tsx'
import { Loaded } from '../ui/states.tsx'
import { CodeField } from '../ui/step-up.tsx'
import { toProblem, useResource } from '../ui/use-resource.ts'
import { CodeGrid } from './backup-codes.tsx'

interface Begun {
  readonly ticket: string
  readonly secret: string
  readonly uri: string
  readonly backupCodes: readonly string[]
}

/** The dialog. */
export function EnrolApp({
  onClose,
  onDone,
}: {
  readonly onClose: () => void
  readonly onDone: () => void
}) {
  const begun = useResource(() => send<Begun>('POST', '/mfa/totp'))
  return (
    <Dialog title="Enrol an authenticator app" onClose={onClose} isWide>
      <Loaded resource={begun} rows={8}>
        {(data) => <Steps begun={data} onDone={onDone} />}
      </Loaded>
    </Dialog>
  )
}

function Steps({ begun, onDone }: { readonly begun: Begun; readonly onDone: () => void }) {
  const [code, setCode] = useState('')
  const [error, setError] = useState('')
  const { ticket, secret, uri, backupCodes } = begun
  return (
    <div class="enrol">
      <div>
        <QrCode text={uri} />
        <p class="line-sub center">
          Or type <code class="break">{secret}</code>
        </p>
      </div>
      <div class="stack">
        <p>Scan the code with your app. Then keep these backup codes where your phone is not:</p>
        <CodeGrid codes={backupCodes} />
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault()
            send('POST', '/mfa/totp/confirm', { ticket, code: code.trim() })
              .then(onDone)
              .catch((reason: unknown) => setError(toProblem(reason).message))
          }}
        >
          <CodeField code={code} onCode={setCode} error={error} />
          <button type="submit" class="button button-primary">
            Enrol
          </button>
        </form>
      </div>
    </div>
  )
}

/** The code as one path: no image, so the policy of the page needs no exception. */
function QrCode({ text }: { readonly text: string }) {
  const { path, size } = useMemo(() => draw(text), [text])
  return (
    <svg
      class="qr"
      viewBox={`-3 -3 ${size + 6} ${size + 6}`}
      role="img"
      aria-label="QR code for the authenticator app"
    >
      <rect x="-3" y="-3" width={size + 6} height={size + 6} class="qr-paper" />
      <path d={path} class="qr-ink" />
    </svg>
  )
}

function draw(text: string): { readonly path: string; readonly size: number } {
  const { data, size } = encode(text, { ecc: 'M', border: 0 })
  const dots = data.flatMap((row, y) =>
    row.map((isDark, x) => (isDark ? `M${x} ${y}h1v1h-1z` : '')),
  )
  return { path: dots.join(''), size }
}
