/** Finds the check that a schema names. */
import { compilePhone, compileUuid } from '../types/codes.ts'
import { compileDate } from '../types/dates.ts'
import { compileEmail } from '../types/email.ts'
import { compileFileName } from '../types/file-name.ts'
import { compileHtml } from '../types/html.ts'
import { compilePersonName, compileSearchQuery, compileSlug } from '../types/names.ts'
import { compileText } from '../types/text.ts'
import { compileRedirect, compileUrl } from '../types/url.ts'
import { refuseType, type CheckTools, type TextCheck } from '../types/check.ts'

type Compile = (settings: never, tools: CheckTools) => TextCheck

const checks: Readonly<Record<string, Compile>> = {
  date: compileDate,
  email: compileEmail,
  'file-name': compileFileName,
  'future-date': compileDate,
  html: compileHtml,
  'past-date': compileDate,
  'person-name': compilePersonName,
  phone: compilePhone,
  redirect: compileRedirect,
  'search-query': compileSearchQuery,
  slug: compileSlug,
  text: compileText,
  url: compileUrl,
  uuid: compileUuid,
}

/**
 * Compiles the check that the value of `x-guard` names.
 *
 * @throws PARAPET_INPUT_GUARD_INVALID_TYPE there is no such type.
 */
export function compileTextCheck(settings: unknown, tools: CheckTools): TextCheck {
  const { type } = (settings ?? {}) as { readonly type?: unknown }
  if (typeof type !== 'string' || !Object.hasOwn(checks, type)) {
    refuseType('"x-guard"', `"type" must be one of ${Object.keys(checks).join(', ')}`)
  }
  return checks[type]!(settings as never, tools)
}
