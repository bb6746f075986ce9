/**
 * Trains the model of the inspection and writes `src/inspect/model-weights.ts`: a logistic regression by
 * AdaGrad. It reads `libinjection.jsonl.gz` and `gotestwaf.jsonl.gz` below the
 * folder of the first argument; the harmless values beside theirs are made up. The same input gives the
 * same weights.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { createRandom } from '../../src/forest/random.ts'
import { foldValue } from '../../src/inspect/fold.ts'
import { BUCKETS, hashNgrams } from '../../src/inspect/ngrams.ts'
import { makeBenign } from './benign.ts'

interface Example {
  readonly hashes: Int32Array
  readonly attack: boolean
  readonly weight: number
}

const EPOCHS = 12
const RATE = 0.25
const DECAY = 2e-6
const MADE_UP = 24_000
/** Real harmless values are few, so each counts for more. */
const REAL_WEIGHT = 6
const FOLDS = 5

const folder = process.argv[2]
if (folder === undefined) throw new Error('pass the folder of the corpora')
const read = <T>(name: string): T[] =>
  gunzipSync(readFileSync(`${folder}/${name}.jsonl.gz`))
    .toString()
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as T)

const examples = shuffle(collect())
const validation = crossValidate(examples)
console.log(`in ${FOLDS} folds, of what each did not see: ${validation}`)
const { weights, bias } = train(examples)
write(weights, bias)
console.log(rate(examples, weights, bias))

function collect(): Example[] {
  const random = createRandom(5)
  const collected: Example[] = []
  const add = (text: string, attack: boolean, weight: number) => {
    const folded = foldValue(text)
    collected.push({ hashes: hashNgrams(folded.spaced ?? folded.text).slice(), attack, weight })
  }
  const counts = new Map<string, number>()
  const payloads = [
    ...read<{ l: number; c: string; p: string }>('libinjection'),
    ...read<{ l: number; c: string; p: string }>('gotestwaf'),
  ]
  for (const { c } of payloads) counts.set(c, (counts.get(c) ?? 0) + 1)
  for (const { l, c, p } of payloads) {
    // A class of many examples must not drown the others.
    if (l === 1) add(p.replaceAll('+', ' '), true, Math.min(6, 3000 / counts.get(c)!))
    else add(p.replaceAll('+', ' '), false, REAL_WEIGHT)
  }
  for (let i = 0; i < MADE_UP; i++) add(makeBenign(random), false, 1)
  return collected
}

function train(from: readonly Example[]): { weights: Float64Array; bias: number } {
  const weights = new Float64Array(BUCKETS)
  const squares = new Float64Array(BUCKETS).fill(1e-6)
  let bias = 0
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (const { hashes, attack, weight } of from) {
      const norm = 1 / Math.sqrt(hashes.length || 1)
      let logit = bias
      for (const hash of hashes) logit += weights[hash]! * norm
      const error = (1 / (1 + Math.exp(-logit)) - (attack ? 1 : 0)) * weight
      for (const hash of hashes) {
        const gradient = error * norm + DECAY * weights[hash]!
        squares[hash]! += gradient * gradient
        weights[hash]! -= (RATE * gradient) / Math.sqrt(squares[hash]!)
      }
      bias -= 0.002 * error
    }
  }
  return { weights, bias }
}

function probability({ hashes }: Example, weights: Float64Array, bias: number): number {
  let logit = bias
  for (const hash of hashes) logit += weights[hash]! / Math.sqrt(hashes.length || 1)
  return 1 / (1 + Math.exp(-logit))
}

function crossValidate(all: readonly Example[]): string {
  const rates = Array.from({ length: FOLDS }, (_, fold) => {
    const { weights, bias } = train(all.filter((_, i) => i % FOLDS !== fold))
    return { held: all.filter((_, i) => i % FOLDS === fold), weights, bias }
  })
  return rates.map(({ held, weights, bias }) => rate(held, weights, bias)).join('; ')
}

function rate(of: readonly Example[], weights: Float64Array, bias: number): string {
  const share = (chosen: readonly Example[]) => {
    const hits = chosen.filter((example) => probability(example, weights, bias) > 0.85).length
    return `${((100 * hits) / chosen.length).toFixed(2)} % of ${chosen.length}`
  }
  const attacks = of.filter(({ attack }) => attack)
  const real = of.filter(({ attack, weight }) => !attack && weight > 1)
  const madeUp = of.filter(({ attack, weight }) => !attack && weight === 1)
  return `${share(attacks)} attacks, ${share(real)} real and ${share(madeUp)} made-up harmless`
}

function shuffle(all: Example[]): Example[] {
  const random = createRandom(17)
  for (let i = all.length - 1; i > 0; i--) {
    const j = random.below(i + 1)
    const kept = all[i]!
    all[i] = all[j]!
    all[j] = kept
  }
  return all
}

function write(weights: Float64Array, bias: number): void {
  const largest = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0)
  const scale = largest / 127
  const packed = Int8Array.from(weights, (weight) => Math.round(weight / scale))
  const text = Buffer.from(packed.buffer).toString('base64')
  writeFileSync(
    new URL('../../src/inspect/model-weights.ts', import.meta.url),
    `/** The weights of the model, written by bench/model/train-model.ts. */\n
export const BIAS = ${bias}
export const SCALE = ${scale}
/** One signed byte for each hash, in base64. */
export const WEIGHTS =
  '${text}'
`,
  )
}
