/** The two ceremonies of WebAuthn, as JSON in and out. @see WebAuthn Level 3, sections 5.1.8 to 5.1.10 */

/** Whether this browser has passkeys. */
export const hasPasskeys = 'PublicKeyCredential' in globalThis

/** Lets the user show a passkey. */
export async function answerOptions(options: object): Promise<object> {
  const publicKey = PublicKeyCredential.parseRequestOptionsFromJSON(
    options as PublicKeyCredentialRequestOptionsJSON,
  )
  return toJson(await navigator.credentials.get({ publicKey }))
}

/** Lets the user create a passkey. */
export async function createPasskey(options: object): Promise<object> {
  const publicKey = PublicKeyCredential.parseCreationOptionsFromJSON(
    options as PublicKeyCredentialCreationOptionsJSON,
  )
  return toJson(await navigator.credentials.create({ publicKey }))
}

function toJson(credential: Credential | null): object {
  if (credential === null) throw new Error('No passkey was chosen.')
  if (!(credential instanceof PublicKeyCredential)) throw new TypeError('no passkey')
  return credential.toJSON()
}
