/** The option `cors`. */
import { option, optionGroup, type OptionReader } from '@parapet/kit'

/** Which origins may read responses. */
export interface CorsOptions {
  /**
   * Origins as browsers send them (`https://app.example.com`), patterns for subdomains
   * (`https://*.example.com`), or `*` for public data. @default none
   */
  readonly origins?: readonly string[]
  /** Called for every origin that `origins` does not contain. If it throws, the origin is denied. */
  readonly allowOrigin?: (origin: string) => boolean
  /** @default ['GET', 'HEAD', 'POST'] */
  readonly methods?: readonly string[]
  /** Request headers that pages may set. @default ['content-type'] */
  readonly allowedHeaders?: readonly string[]
  /** Response headers that pages may read. @default none */
  readonly exposedHeaders?: readonly string[]
  /** Whether requests may carry cookies. @default false */
  readonly credentials?: boolean
  /** How long browsers keep the response to a preflight: seconds. @default 7200 */
  readonly maxAgeSeconds?: number
  /** Whether public pages may reach this service in a private network. @default false */
  readonly privateNetwork?: boolean
}

/** The option `cors` with every default filled in. */
export interface CorsSettings extends Required<Omit<CorsOptions, 'allowOrigin'>> {
  readonly allowOrigin: CorsOptions['allowOrigin'] | undefined
}

/** Reads a list of header names. @see RFC 9110, section 5.6.2 */
const headerNames = (values: readonly string[]) =>
  option.list(
    option.text({
      pattern: /^[\w!#$%&'*+.^`|~-]+$/,
      form: 'the name of a header, such as "x-request-id"',
    }),
    { default: values },
  )

/** Reads the option `cors`. */
export const corsReader: OptionReader<CorsSettings> = optionGroup({
  // Not validated here: the lint explains for each kind of mistake which attack it would allow.
  origins: option.custom<readonly string[]>(() => undefined, { default: [] }),
  allowOrigin: option.optional(option.callback<(origin: string) => boolean>()),
  methods: option.list(option.text(), { default: ['GET', 'HEAD', 'POST'] }),
  allowedHeaders: headerNames(['content-type']),
  exposedHeaders: headerNames([]),
  credentials: option.boolean({ default: false }),
  maxAgeSeconds: option.seconds({ min: 0, default: 7200 }),
  privateNetwork: option.boolean({ default: false }),
})
