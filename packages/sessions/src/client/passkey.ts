/** Asks the browser for a passkey. */
import { browser } from './browser.ts'
import { SessionError } from './session-error.ts'

/** How to ask. */
export interface PasskeyPrompt {
  /** In a form field with `autocomplete="username webauthn"`, instead of a dialog. */
  readonly autofill?: boolean
  readonly signal?: AbortSignal
}

/** Whether the browser offers passkeys in form fields. */
export async function hasPasskeyAutofill(): Promise<boolean> {
  return (await browser.PublicKeyCredential?.isConditionalMediationAvailable?.()) ?? false
}

/**
 * Asks for a passkey.
 *
 * @param options the challenge of the service.
 * @returns the credential as JSON.
 * @throws SessionError with status 0: the browser has no passkeys, or the user chose none. The reason of the
 *   `signal`, if that ended the prompt.
 * @see Web Authentication Level 3, sections 5.1.4 and 5.1.10
 */
export async function askPasskey(options: object, prompt: PasskeyPrompt = {}): Promise<object> {
  const { navigator, PublicKeyCredential: passkeys } = browser
  const publicKey = passkeys?.parseRequestOptionsFromJSON?.(options)
  if (publicKey === undefined || navigator?.credentials === undefined) {
    throw new SessionError(0, 'PASSKEYS_UNSUPPORTED', 'this browser cannot use passkeys here')
  }
  const { autofill, signal } = prompt
  const credential = await navigator.credentials
    .get({
      publicKey,
      ...(autofill === true ? { mediation: 'conditional' } : undefined),
      ...(signal === undefined ? undefined : { signal }),
    })
    .catch((error: unknown) => {
      // The user cancelled, or the prompt timed out: browsers do not say which.
      if ((error as Error).name === 'NotAllowedError') return null
      throw error
    })
  if (credential === null) throw new SessionError(0, 'PASSKEY_MISSING', 'no passkey was chosen')
  return credential.toJSON()
}
