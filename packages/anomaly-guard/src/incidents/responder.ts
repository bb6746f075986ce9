/** Turns detections into containments, by the label and the limits of the guard. */
import type { Containments, ContainmentOrder } from '../contain/containments.ts'
import type { ContainmentKind, Target } from '../contain/containment.ts'
import type { Detection, Response, Subject } from '../rules/rule.ts'

/** What is done for each label; the option `respond` changes it. */
export const defaultResponses: Readonly<Record<string, readonly Response[]>> = Object.freeze({
  brute_force: ['block-address'],
  credential_stuffing: ['block-address'],
  password_spraying: ['block-address'],
  // Each address makes few guesses: each login to the account solves a challenge, its owner's as well.
  distributed_brute_force: ['challenge', 'challenge-account'],
  token_guessing: ['challenge'],
  enumeration: ['tighten'],
  scraping: ['challenge'],
  mass_export: ['tighten'],
  slow_exfiltration: ['tighten'],
  large_transfer: ['tighten'],
  file_access: ['tighten'],
  flood: ['block-address'],
  limit_abuse: ['challenge'],
  scanning: ['block-address'],
  payload_attack: ['block-address'],
  token_theft: ['step-up', 'revoke'],
  session_hopping: ['block-address', 'revoke'],
  account_takeover: ['step-up', 'revoke'],
  detection_point: ['challenge'],
})

interface Measure {
  readonly kind: ContainmentKind
  readonly target: Target
}

/** Responds to a detection. */
export type Responder = (detection: Detection, anomalyId: string) => void

/** The responses to a detection. */
export function responsesTo(
  { label, respond }: Pick<Detection, 'label' | 'respond'>,
  table: Readonly<Record<string, readonly Response[]>>,
): readonly Response[] {
  return respond ?? table[label] ?? []
}

/**
 * Creates the responder.
 *
 * @param hasChallenge whether the challenge is set up; without it, a challenge is a tightened limit.
 */
export function createResponder(
  containments: Containments,
  table: Readonly<Record<string, readonly Response[]>>,
  hasChallenge: boolean,
): Responder {
  return (detection, anomalyId) => {
    const { subject, rule, label, origin } = detection
    if (origin === 'allowed') return
    for (const response of responsesTo(detection, table)) {
      const allowed = origin === 'cross-site' ? calmed(response, hasChallenge) : response
      const measure = allowed && measureOf(allowed, subject, hasChallenge)
      if (measure === undefined) continue
      const order: ContainmentOrder = { ...measure, reason: `${label} (rule ${rule})`, anomalyId }
      const { spared } = containments.order(order)
      // So many clients cannot all be attackers, or blocking would be the greater harm.
      if (spared === 'cap')
        containments.order({ ...order, kind: hasChallenge ? 'challenge' : 'tighten' })
    }
  }
}

/** Another site can make a browser ask, so that its visitor solves a challenge at most. */
function calmed(response: Response, hasChallenge: boolean): Response | undefined {
  if (response === 'challenge-account') return response
  const isMild = response !== 'step-up' && response !== 'revoke'
  return hasChallenge && isMild ? 'challenge' : undefined
}

function measureOf(
  response: Response,
  { address, principalId, account }: Subject,
  hasChallenge: boolean,
): Measure | undefined {
  const atAddress = address === undefined || address === 'unknown' ? undefined : address
  const toAddress = (kind: ContainmentKind): Measure | undefined =>
    atAddress === undefined ? undefined : { kind, target: { type: 'address', value: atAddress } }
  const toPrincipal = (kind: ContainmentKind): Measure | undefined =>
    principalId === undefined
      ? undefined
      : { kind, target: { type: 'principal', value: principalId } }
  const measures: Readonly<Record<Response, () => Measure | undefined>> = {
    'block-address': () => toAddress('block'),
    'block-principal': () => toPrincipal('block'),
    challenge: () => toAddress(hasChallenge ? 'challenge' : 'tighten'),
    tighten: () => toPrincipal('tighten') ?? toAddress('tighten'),
    'challenge-account': () =>
      account === undefined
        ? undefined
        : {
            kind: hasChallenge ? 'challenge' : 'tighten',
            target: { type: 'account', value: account },
          },
    'step-up': () => toPrincipal('step-up'),
    revoke: () => toPrincipal('revoke'),
  }
  return measures[response]()
}
