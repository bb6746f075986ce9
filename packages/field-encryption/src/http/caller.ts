/** Who asks, as the hooks need it. */
import type { usePrincipal } from '@parapet/kit'

/** Reads the principal of a request; `load` first, because a mapping may be asynchronous. */
export type PrincipalReader = ReturnType<typeof usePrincipal>
