/** HashiCorp's parser of HCL, compiled to WebAssembly. */
import { createRequire } from 'node:module'

// Required, not imported: its types bring the types of a browser into the whole program.
const require = createRequire(import.meta.url)
const { parse } = require('@cdktf/hcl2json') as {
  readonly parse: (file: string, text: string) => Promise<unknown>
}

/**
 * Parses HCL. An expression is a text, `${var.name}`; a block is an array of objects.
 *
 * @throws Error the syntax is wrong; the message has the place.
 */
export function parseHcl(file: string, text: string): Promise<unknown> {
  return parse(file, text)
}
