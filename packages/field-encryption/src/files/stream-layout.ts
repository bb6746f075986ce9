/** The layout of a stream in Tink's AES-GCM-HKDF format: sizes and positions of its segments. */

/** The parameters of a stream. Writer and reader must use the same ones. */
export interface StreamParameters {
  readonly hash: 'sha1' | 'sha256' | 'sha512'
  /** 16 or 32; also the length of the salt in the header. */
  readonly derivedKeyBytes: 16 | 32
  /** Ciphertext of one segment; in the first one, the header included. */
  readonly segmentBytes: number
}

/** Tink's template `AES256_GCM_HKDF_1MB`. */
export const AES256_GCM_HKDF_1MB: StreamParameters = Object.freeze({
  hash: 'sha256',
  derivedKeyBytes: 32,
  segmentBytes: 1_048_576,
})

export const NONCE_PREFIX_BYTES = 7
export const TAG_BYTES = 16

/** The length of the header: one byte for this length, the salt, and the prefix of the nonces. */
export function headerBytes({ derivedKeyBytes }: StreamParameters): number {
  return 1 + derivedKeyBytes + NONCE_PREFIX_BYTES
}

/** The ciphertext length of a plaintext. */
export function sealedSize(plainBytes: number, parameters: StreamParameters): number {
  const segments = segmentOf(Math.max(0, plainBytes - 1), parameters) + 1
  return headerBytes(parameters) + plainBytes + segments * TAG_BYTES
}

/** The plaintext length of a ciphertext; `undefined` if no plaintext has a ciphertext of this length. */
export function plainSize(sealedBytes: number, parameters: StreamParameters): number | undefined {
  const segments = Math.max(1, Math.ceil(sealedBytes / parameters.segmentBytes))
  const size = sealedBytes - headerBytes(parameters) - segments * TAG_BYTES
  return size >= 0 && sealedSize(size, parameters) === sealedBytes ? size : undefined
}

/** The number of the segment with the plaintext byte at `offset`. */
export function segmentOf(offset: number, parameters: StreamParameters): number {
  return Math.floor((offset + headerBytes(parameters)) / (parameters.segmentBytes - TAG_BYTES))
}

/** The offset at which the plaintext of a segment starts. */
export function plainStart(segment: number, parameters: StreamParameters): number {
  const size = parameters.segmentBytes - TAG_BYTES
  return segment === 0 ? 0 : segment * size - headerBytes(parameters)
}
