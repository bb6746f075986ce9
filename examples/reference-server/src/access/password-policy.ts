/** Which passwords users may choose. */
import { createPasswordPolicy } from '@parapet/sessions'

/** At least 15 characters, and none that is common, trivial or about the account. */
export const passwordPolicy = createPasswordPolicy({ words: ['Parapet', 'reference server'] })
