/** All signatures. */
import { code } from './code.ts'
import { command } from './command.ts'
import { files } from './files.ts'
import { other } from './other.ts'
import type { Signature } from './signature.ts'
import { sqlConditions } from './sql-conditions.ts'
import { sqlStatements } from './sql-statements.ts'
import { templates } from './templates.ts'
import { xss } from './xss.ts'

export const allSignatures: readonly Signature[] = [
  ...sqlConditions,
  ...sqlStatements,
  ...xss,
  ...command,
  ...code,
  ...templates,
  ...files,
  ...other,
]
