/** Signing in: password, then a second factor if there is one; or a passkey alone. */
import { useState } from 'preact/hooks'
import { signIn, signInWithCode, signInWithPasskey, type SecondStep } from '../api/sign-in.ts'
import { hasPasskeys } from '../api/webauthn.ts'
import { Icon, Mark } from '../ui/icons.tsx'
import { CodeField } from '../ui/step-up.tsx'
import { toProblem } from '../ui/use-resource.ts'

/** The page. */
export function SignIn({ onDone }: { readonly onDone: () => void }) {
  const [step, setStep] = useState<SecondStep>()
  const [error, setError] = useState('')
  const [isBusy, setBusy] = useState(false)
  const attempt = (work: () => Promise<SecondStep | undefined | void>) => {
    setBusy(true)
    setError('')
    work()
      .then((next) => (next === undefined ? onDone() : setStep(next)))
      .catch((reason: unknown) => setError(toProblem(reason).message))
      .finally(() => setBusy(false))
  }
  return (
    <main class="sign-in">
      <div class="sign-in-card">
        <p class="brand">
          <Mark size={28} /> Parapet
        </p>
        <h1>{step === undefined ? 'Sign in to the console' : 'One more step'}</h1>
        {!globalThis.isSecureContext && (
          <p class="field-error" role="alert">
            The console needs https, or localhost.
          </p>
        )}
        {step === undefined ? (
          <PasswordForm error={error} isBusy={isBusy} onSend={attempt} />
        ) : (
          <CodeForm step={step} error={error} isBusy={isBusy} onSend={attempt} />
        )}
        {hasPasskeys && step === undefined && (
          <>
            <p class="or">or</p>
            <button
              type="button"
              class="button button-wide"
              disabled={isBusy}
              onClick={() => attempt(signInWithPasskey)}
            >
              <Icon name="keys" size={16} /> Sign in with a passkey
            </button>
          </>
        )}
      </div>
      <p class="sign-in-foot">Every sign-in, and everything done here, is recorded.</p>
    </main>
  )
}

interface FormProps {
  readonly error: string
  readonly isBusy: boolean
  readonly onSend: (work: () => Promise<SecondStep | undefined | void>) => void
}

function PasswordForm({ error, isBusy, onSend }: FormProps) {
  const [login, setLogin] = useState('')
  const [password, setPassword] = useState('')
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault()
        onSend(() => signIn(login.trim(), password))
      }}
    >
      <label class="field">
        <span class="field-label">E-mail address</span>
        <input
          class="input"
          type="email"
          name="login"
          autocomplete="username webauthn"
          required
          value={login}
          onInput={({ currentTarget }) => setLogin(currentTarget.value)}
        />
      </label>
      <label class="field">
        <span class="field-label">Password</span>
        <input
          class="input"
          type="password"
          name="password"
          autocomplete="current-password"
          required
          value={password}
          onInput={({ currentTarget }) => setPassword(currentTarget.value)}
        />
        <span class="field-error" role="alert">
          {error}
        </span>
      </label>
      <button type="submit" class="button button-primary button-wide" disabled={isBusy}>
        Sign in
      </button>
    </form>
  )
}

function CodeForm({ step, error, isBusy, onSend }: FormProps & { readonly step: SecondStep }) {
  const [code, setCode] = useState('')
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault()
        onSend(() => signInWithCode(step.ticket, code.trim()))
      }}
    >
      <CodeField code={code} onCode={setCode} error={error} />
      <button type="submit" class="button button-primary button-wide" disabled={isBusy}>
        Continue
      </button>
    </form>
  )
}
