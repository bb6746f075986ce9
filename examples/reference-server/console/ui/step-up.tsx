/** Asks for a second factor when an action needs a recent one, then the action goes on. */
import { useState } from 'preact/hooks'
import { verifyCode, verifyPasskey } from '../api/sign-in.ts'
import { hasPasskeys } from '../api/webauthn.ts'
import { Dialog } from './dialog.tsx'
import { Icon } from './icons.tsx'
import { toProblem } from './use-resource.ts'

/** A question that is open. */
export interface StepUpQuestion {
  readonly needsPasskey: boolean
  readonly answer: (isShown: boolean) => void
}

/** The dialog of the question. */
export function StepUpDialog({ question }: { readonly question: StepUpQuestion }) {
  const [code, setCode] = useState('')
  const [error, setError] = useState('')
  const [isBusy, setBusy] = useState(false)
  const attempt = (show: () => Promise<void>) => {
    setBusy(true)
    show()
      .then(() => question.answer(true))
      .catch((reason: unknown) => {
        setError(toProblem(reason).message)
        setBusy(false)
      })
  }
  return (
    <Dialog title="Confirm that it is you" onClose={() => question.answer(false)}>
      <p class="dialog-text">This action needs a second factor that was shown recently.</p>
      {!question.needsPasskey && (
        <form
          class="stack"
          onSubmit={(event) => {
            event.preventDefault()
            attempt(() => verifyCode(code.trim()))
          }}
        >
          <CodeField code={code} onCode={setCode} error={error} />
          <button type="submit" class="button button-primary" disabled={isBusy}>
            Confirm
          </button>
        </form>
      )}
      {question.needsPasskey && error !== '' && <p class="field-error">{error}</p>}
      {hasPasskeys && (
        <button
          type="button"
          class="button button-wide"
          disabled={isBusy}
          onClick={() => attempt(verifyPasskey)}
        >
          <Icon name="keys" size={16} /> Use a passkey
        </button>
      )}
    </Dialog>
  )
}

/** The field for a code of an authenticator app, or a backup code. */
export function CodeField({
  code,
  onCode,
  error,
}: {
  readonly code: string
  readonly onCode: (code: string) => void
  readonly error: string
}) {
  return (
    <label class="field">
      <span class="field-label">Code of your authenticator app, or a backup code</span>
      <input
        class="input input-code"
        name="code"
        inputMode="numeric"
        autocomplete="one-time-code"
        required
        minLength={6}
        maxLength={64}
        value={code}
        aria-invalid={error !== ''}
        onInput={({ currentTarget }) => onCode(currentTarget.value)}
      />
      <span class="field-error" role="alert">
        {error}
      </span>
    </label>
  )
}
