// Compiled, never run, in a bare TypeScript app that has installed the packed package.
import fieldEncryption, {
  Encrypted,
  type FieldEncryption,
  type FieldEncryptionOptions,
  type Table,
} from '@parapet/field-encryption'
import { Type } from '@sinclair/typebox'
import Fastify from 'fastify'

const app = Fastify()
const options: FieldEncryptionOptions = { keyset: '{}', cache: { maxAgeMs: 60_000 } }
await app.register(fieldEncryption, options)
export const decorated: FieldEncryption = app.fieldEncryption

const User = Type.Object({ id: Type.String(), age: Encrypted(Type.Integer()) })
export const users: Table<typeof User> = app.fieldEncryption.table('users', User)
export const age: Promise<number> = users.decryptRecord({ id: '1' }).then((user) => user.age)

const shown = users.decryptRecord({ id: '1' }, { roles: ['support'] })
export const maybe: Promise<number | undefined> = shown.then((user) => user.age)
// @ts-expect-error -- some roles do not see it
export const certain: Promise<number> = shown.then((user) => user.age)

app.securityEvents.on('field_encryption.decrypted', ({ details, severity }) => {
  const column: string = details.column
  app.log.info({ column, severity }, 'decrypted')
})

// @ts-expect-error -- an option that does not exist
await app.register(fieldEncryption, { key: '{}' })
