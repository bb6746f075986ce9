// Lets Node 20 run the TypeScript sources as they are: types are blanked out, so line and column stay true.
import { register } from 'node:module'
/* c8 ignore next */
if (!process.features.typescript) register('./ts-hooks.mjs', import.meta.url)
