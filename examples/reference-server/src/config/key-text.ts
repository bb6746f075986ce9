/** Keys in environment variables: as they are, or as base64 in one line, which every env file can hold. */

const BASE64 = /^[A-Za-z0-9+/]{16,}={0,2}$/

/** Turns the base64 between the lines of an unencrypted PEM (PKCS #8) into that PEM. */
export function readPem(text: string): string {
  if (!BASE64.test(text)) return text
  const lines = text.match(/.{1,64}/g)!
  return ['-----BEGIN PRIVATE KEY-----', ...lines, '-----END PRIVATE KEY-----', ''].join('\n')
}

/** The inverse of {@link readPem}. */
export function writePem(pem: string): string {
  return pem.replaceAll(/-----[A-Z ]+-----|\s/g, '')
}

/** Decodes a JSON text that is written in base64. */
export function readJson(text: string): string {
  return BASE64.test(text) ? Buffer.from(text, 'base64').toString() : text
}

/** The inverse of {@link readJson}. */
export function writeJson(json: string): string {
  return Buffer.from(json).toString('base64')
}
