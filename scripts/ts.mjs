// Lets Node 20 run the TypeScript sources: types are replaced by blanks, so that lines and columns stay correct.
import { register } from 'node:module'
/* c8 ignore next */
if (!process.features.typescript) register('./ts-hooks.mjs', import.meta.url)
