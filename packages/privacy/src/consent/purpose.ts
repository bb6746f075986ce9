/** Purposes of consent, as the option `purposes` declares them. */

/** A purpose that a subject may consent to. */
export interface ConsentPurpose {
  /** What the subject is asked, in words. */
  readonly title: string
  /** The version of the notice in force, for instance `2026-11`. */
  readonly noticeVersion: string
  /** The text of the notice; its hash is stored with each consent. */
  readonly noticeText: string
  /** Categories of data. @default [] */
  readonly categories?: readonly string[]
  /** Whether a request with `Sec-GPC: 1` counts as a refusal. @default false */
  readonly honoursGpc?: boolean
  /** After how many days a consent has to be given again. @default never */
  readonly expiresAfterDays?: number
}
