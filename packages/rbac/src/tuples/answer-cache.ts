/** Answers of one revision of the tuples. A newer revision empties the cache. */
import type { RelationQuestion } from './relations.ts'
import { keyOf } from './tuples.ts'

/** A client can ask for objects with any id; answers of long ones are not worth their memory. */
const MAX_KEY_LENGTH = 2048

/** Keeps the answers that were given most recently. */
export class AnswerCache {
  readonly #max: number
  readonly #answers = new Map<string, boolean | null>()
  #revision = ''

  /** @param max the number of answers; 0: none is kept. */
  constructor(max: number) {
    this.#max = max
  }

  /** Returns all answers, and the revision for which they hold, or `undefined` if one is missing. */
  get(
    principalId: string,
    questions: readonly RelationQuestion[],
  ): { readonly revision: string; readonly answers: readonly (boolean | null)[] } | undefined {
    const answers: (boolean | null)[] = []
    for (const question of questions) {
      const key = keyOfQuestion(principalId, question)
      const answer = this.#answers.get(key)
      if (answer === undefined) return undefined
      answers.push(answer)
    }
    return { revision: this.#revision, answers }
  }

  /** Keeps answers. A late answer of another revision empties the cache, which is harmless. */
  set(
    revision: string,
    principalId: string,
    questions: readonly RelationQuestion[],
    answers: readonly (boolean | null)[],
  ): void {
    if (this.#max === 0) return
    if (revision !== this.#revision) {
      this.#answers.clear()
      this.#revision = revision
    }
    for (const [index, question] of questions.entries()) {
      const key = keyOfQuestion(principalId, question)
      if (key.length > MAX_KEY_LENGTH) continue
      if (this.#answers.size >= this.#max) this.#answers.delete(this.#answers.keys().next().value!)
      this.#answers.set(key, answers[index]!)
    }
  }
}

function keyOfQuestion(principalId: string, { plan, objectId }: RelationQuestion): string {
  // A policy that is published later can declare another relation under the same name.
  return keyOf(principalId, plan.key, objectId, plan.digest)
}
