/** What the request path looks up for a route. */
import type { IsolationScope } from '../isolation/fetch-metadata.ts'
import type { Block } from './block.ts'

/** What the request path looks up for a route. */
export interface RouteEntry {
  /** Complete once the app is ready. */
  readonly block: Block
  /** Which sites may send requests. */
  readonly isolation: IsolationScope
  /** Whether requests need no CSRF token. */
  readonly csrfExempt: boolean
  /** Whether its pages are files of the option `build`. */
  readonly shells: boolean
  /** Whether clients may use http, where the option `https` refuses it. */
  readonly plainHttp: boolean
  /** Whether its responses are pages. */
  readonly page: boolean
}
