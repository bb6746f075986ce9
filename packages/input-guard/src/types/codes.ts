/** Ids, country codes and telephone numbers. */
import { Type, type TString, type TUnsafe } from '@sinclair/typebox'
import {
  checkSettings,
  commonOf,
  fault,
  guardedString,
  refuseType,
  type CheckTools,
  type CommonOptions,
  type TextCheck,
} from './check.ts'
import { COUNTRIES } from './country-data.ts'

/** Options of {@link Uuid}. */
export interface UuidOptions extends CommonOptions {
  /** @default every version */
  readonly version?: 4 | 7
}

/** A UUID in the usual form of 36 characters. The value becomes lower case. @see RFC 9562, section 4 */
export function Uuid(options: UuidOptions = {}): TString {
  checkSettings('Uuid', options, { version: [4, 7] })
  const { version } = options
  return guardedString(
    { type: 'uuid', version },
    { ...commonOf(options), format: 'uuid', maxLength: 36 },
  )
}

/** A country. @see ISO 3166-1, alpha-2 */
export function CountryCode(options: CommonOptions = {}): TUnsafe<string> {
  checkSettings('CountryCode', options, {})
  return Type.Unsafe<string>({ type: 'string', enum: [...COUNTRIES], ...commonOf(options) })
}

/** Options of {@link Phone}. */
export interface PhoneOptions extends CommonOptions {
  /** Of numbers without `+`: an ISO 3166-1 code. @default numbers must begin with `+` */
  readonly defaultCountry?: string
  /** Countries whose numbers are allowed. @default all */
  readonly countries?: readonly string[]
}

/** A telephone number that exists in its numbering plan. The value becomes E.164: `+34911234567`. */
export function Phone(options: PhoneOptions = {}): TString {
  checkSettings('Phone', options, { defaultCountry: 'string', countries: 'object' })
  const { defaultCountry, countries } = options
  for (const country of [defaultCountry, ...(countries ?? [])]) {
    if (country !== undefined && !COUNTRIES.includes(country)) {
      refuseType('Phone', `"${country}" is no country of ISO 3166-1`)
    }
  }
  return guardedString(
    { type: 'phone', defaultCountry, countries },
    { ...commonOf(options), minLength: 3, maxLength: 32 },
  )
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/
const NOT_A_UUID = fault('uuid', 'must be a UUID')
const NOT_A_PHONE = fault('phone', 'must be a telephone number with its country code')
const PHONE_COUNTRY = fault('phone_country', 'must be a number of a country that is allowed here')
const PHONE_CHARACTERS = /^\+?[\d\s()./\u2010\u2011–-]+$/

export function compileUuid({ version }: UuidOptions): TextCheck {
  return (text) => {
    const isLower = UUID.test(text)
    const id = isLower ? text : text.toLowerCase()
    if (!isLower && !UUID.test(id)) return NOT_A_UUID
    return version === undefined || id[14] === String(version) ? id : NOT_A_UUID
  }
}

export function compilePhone(
  { defaultCountry, countries }: PhoneOptions,
  { libraries }: CheckTools,
): TextCheck {
  libraries.need('libphonenumber-js')
  const options = {
    extract: false,
    ...(defaultCountry === undefined ? undefined : { defaultCountry }),
  } as const
  return (text) => {
    if (!PHONE_CHARACTERS.test(text)) return NOT_A_PHONE
    const phone = libraries.get('libphonenumber-js').parsePhoneNumberFromString(text, options)
    if (phone?.isValid() !== true) return NOT_A_PHONE
    if (countries !== undefined && !countries.includes(phone.country ?? '')) return PHONE_COUNTRY
    return phone.number
  }
}
