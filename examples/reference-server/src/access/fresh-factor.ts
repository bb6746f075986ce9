/** The rule of mfa for routes with which an operator acts: what is enrolled must have been shown recently. */
export const freshFactor = { ifEnrolled: true, maxAgeSeconds: 900 } as const
