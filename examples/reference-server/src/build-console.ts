/** The command that bundles the page of the console, for images without a bundler. */
import { openConsoleBundle } from './console/bundle.ts'

const { directory } = await openConsoleBundle()
process.stdout.write(`${directory}\n`)
