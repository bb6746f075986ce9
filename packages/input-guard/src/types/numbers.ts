/** Amounts of money and decimal numbers, without errors of floating point. */
import { Type, type TInteger, type TNumber, type TObject, type TUnsafe } from '@sinclair/typebox'
import {
  checkSettings,
  commonOf,
  fault,
  GUARD,
  refuseType,
  type CommonOptions,
  type Fault,
} from './check.ts'
import { CURRENCIES } from './country-data.ts'

/** Options of {@link Money}. */
export interface MoneyOptions extends CommonOptions {
  /** ISO 4217 codes. @default all active national currencies */
  readonly currencies?: readonly string[]
  /** In the smallest unit of the currency. @default 0 */
  readonly minimum?: number
  /** In the smallest unit of the currency. @default 100 000 000 000 */
  readonly maximum?: number
}

/** An amount in the smallest unit of its currency: `{ amountMinor: 12050, currency: 'EUR' }` is 120.50 EUR. */
export function Money(
  options: MoneyOptions = {},
): TObject<{ amountMinor: TInteger; currency: TUnsafe<string> }> {
  checkSettings('Money', options, {
    currencies: 'object',
    minimum: 'number',
    maximum: 'number',
  })
  const { currencies = CURRENCIES, minimum = 0, maximum = 100_000_000_000 } = options
  if (currencies.length === 0 || currencies.some((each) => !/^[A-Z]{3}$/.test(each))) {
    refuseType('Money', '"currencies" must be ISO 4217 codes such as "EUR"')
  }
  if (!Number.isSafeInteger(minimum) || !Number.isSafeInteger(maximum)) {
    refuseType('Money', '"minimum" and "maximum" must be integers in the smallest unit')
  }
  return Type.Object(
    {
      amountMinor: Type.Integer({ minimum, maximum, description: 'In the smallest unit' }),
      currency: Type.Unsafe<string>({
        type: 'string',
        enum: [...currencies],
        description: 'ISO 4217',
      }),
    },
    { ...commonOf(options), additionalProperties: false },
  )
}

/** Options of {@link Multiple}. */
export interface MultipleOptions extends CommonOptions {
  readonly minimum?: number
  readonly maximum?: number
}

/** The keyword of {@link Multiple}. */
export const NUMBER_GUARD = `${GUARD}-number`

/** A number that is a multiple of a power of ten such as `'0.01'`. JSON Schema's `multipleOf` refuses 1.13. */
export function Multiple(of: string, options: MultipleOptions = {}): TNumber {
  checkSettings('Multiple', options, { minimum: 'number', maximum: 'number' })
  const { minimum, maximum } = options
  const digits = decimalsOf(of)
  const limits = {
    minimum: minimum ?? -(10 ** (15 - digits)),
    maximum: maximum ?? 10 ** (15 - digits),
  }
  return Type.Number({ ...commonOf(options), ...limits, [NUMBER_GUARD]: { decimals: digits } })
}

function decimalsOf(of: string): number {
  if (!/^(?:1|0\.0{0,8}1)$/.test(of)) {
    refuseType('Multiple', 'it must be "1", "0.1", "0.01" and so on, as a text')
  }
  return of === '1' ? 0 : of.length - 2
}

/**
 * Compiles the check: the shortest decimal text of a number, which is what the client wrote, has at most
 * so many digits after the point.
 */
export function compileDecimals({ decimals }: { readonly decimals: number }) {
  const found = fault('decimals', `must have at most ${decimals} digits after the decimal point`)
  return (value: number): Fault | undefined =>
    Number.isInteger(value) || Number(value.toFixed(decimals)) === value ? undefined : found
}
