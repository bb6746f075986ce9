/** Faults of a request as an error, and faults that are found later. */
import { PARAPET_INPUT_GUARD_LOOKUP_FAILED } from '../errors.ts'
import { describeFaults, type InputFault, type RequestPart } from '../validation/faults.ts'
import type { LateFault } from '../validation/run.ts'

/**
 * Runs the checks that wait for an answer.
 *
 * @throws PARAPET_INPUT_GUARD_LOOKUP_FAILED one of them failed.
 */
export async function checkLater(
  checks: readonly (() => Promise<LateFault | undefined>)[],
  part: RequestPart,
): Promise<InputFault[]> {
  const found = await Promise.all(checks.map((check) => check())).catch((cause: unknown) => {
    throw Object.assign(new PARAPET_INPUT_GUARD_LOOKUP_FAILED(), { cause })
  })
  return found.flatMap((late) =>
    late === undefined
      ? []
      : [
          {
            in: part,
            instancePath: late.pointer,
            keyword: 'x-guard',
            message: late.message,
            params: { code: late.code },
          },
        ],
  )
}

/** An error as Fastify makes it for faults of one part. */
export function inputError(faults: readonly InputFault[], part: RequestPart): Error {
  return Object.assign(new Error(describeFaults(faults)), {
    statusCode: 400,
    code: 'FST_ERR_VALIDATION',
    validation: faults,
    validationContext: part,
  })
}

/** What a validator leaves in `errors`, as an error. */
export function asError(errors: readonly InputFault[] | Error | null, part: RequestPart): Error {
  return errors instanceof Error ? errors : inputError(errors ?? [], part)
}
