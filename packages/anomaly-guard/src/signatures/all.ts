/** All signatures. */
import { codeInjection } from './code.ts'
import { command } from './command.ts'
import { files } from './files.ts'
import { other } from './other.ts'
import type { Signature } from './signature.ts'
import { sqli } from './sqli.ts'
import { xss } from './xss.ts'

export const allSignatures: readonly Signature[] = [
  ...sqli,
  ...xss,
  ...command,
  ...codeInjection,
  ...files,
  ...other,
]
