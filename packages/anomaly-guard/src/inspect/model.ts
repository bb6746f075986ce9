/**
 * The learned model: a logistic regression over groups of characters. It only confirms or rejects a hint of
 * a signature; it never looks at a text without one.
 */
import { BIAS, SCALE, WEIGHTS } from './model-weights.ts'
import { hashNgrams } from './ngrams.ts'

const bytes = Buffer.from(WEIGHTS, 'base64')
const weights = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length)

/**
 * The probability, 0 to 1, that a folded text is an attack.
 *
 * @param at where the hint is; of a long text, only what is around it counts.
 */
export function attackProbability(text: string, at = 0): number {
  const hashes = hashNgrams(text, at)
  let sum = 0
  for (let i = 0; i < hashes.length; i++) sum += weights[hashes[i]!]!
  const logit = BIAS + (sum * SCALE) / Math.sqrt(hashes.length || 1)
  return 1 / (1 + Math.exp(-logit))
}
