/** What the client uses of the browser, described here: this package is compiled without its types. */

/** Web Locks API: at most one tab of the origin holds a lock. */
interface Locks {
  request<T>(name: string, work: () => Promise<T>): Promise<T>
  query(): Promise<{ readonly held?: readonly { readonly name?: string }[] }>
}

interface Credentials {
  get(options: {
    readonly publicKey: object
    readonly mediation?: 'conditional'
    readonly signal?: AbortSignal
  }): Promise<{ toJSON(): object } | null>
}

interface PasskeySupport {
  parseRequestOptionsFromJSON?(options: object): object
  isConditionalMediationAvailable?(): Promise<boolean>
}

interface BrowserStorage {
  getItem(key: string): string | null
  setItem(key: string, value: string): void
  removeItem(key: string): void
}

/** The parts of the browser. Each may be missing: an old browser, plain http, blocked storage, a worker. */
export interface BrowserParts {
  readonly navigator?: { readonly locks?: Locks; readonly credentials?: Credentials }
  readonly PublicKeyCredential?: PasskeySupport
  readonly localStorage?: BrowserStorage
}

/** The browser that runs the client. */
export const browser = globalThis as BrowserParts
