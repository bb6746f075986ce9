/** Signs bytes with a private key. */
import { sign, type KeyObject } from 'node:crypto'
import { PARAPET_SESSIONS_UNAVAILABLE } from '../errors.ts'
import type { Algorithm } from './strong-key.ts'

/** The signature in base64url. It is computed in the thread pool, not on the event loop. */
export function signBytes(key: KeyObject, algorithm: Algorithm, input: Buffer): Promise<string> {
  const digest = algorithm === 'EdDSA' ? null : 'sha256'
  return new Promise((resolve, reject) => {
    // The callback form: an RSA signature takes milliseconds and would delay other requests.
    sign(digest, input, { key, dsaEncoding: 'ieee-p1363' }, (error, signature) => {
      if (error === null) resolve(signature.toString('base64url'))
      else reject(new PARAPET_SESSIONS_UNAVAILABLE({ cause: error }))
    })
  })
}
