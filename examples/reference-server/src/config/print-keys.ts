/** `npm run keys`: prints new keys as lines for an env file. Nothing is stored or logged. */
import { generateKeyPairSync } from 'node:crypto'
import { exportKeyset, generateKeyset } from '@parapet/field-encryption'
import { generateCipherKey } from '@parapet/kit'
import { generateKey, generateSecret } from '@parapet/sessions'
import { writeJson, writePem } from './key-text.ts'
import type { keyMembers } from './required-keys.ts'

// The audit log's key is a plain Ed25519 key; the package makes one only for its own folder.
const audit = generateKeyPairSync('ed25519').privateKey
const keys: Readonly<Record<keyof typeof keyMembers, string>> = {
  FIELD_KEYSET: writeJson(exportKeyset(generateKeyset())),
  MFA_KEYS: generateCipherKey(),
  PRIVACY_KEYS: generateCipherKey(),
  PRIVACY_SECRET: generateSecret(),
  AUDIT_KEY: writePem(audit.export({ type: 'pkcs8', format: 'pem' }).toString()),
  SIGNING_KEY: writePem(generateKey(null).pem),
  SESSION_SECRET: generateSecret(),
}

process.stdout.write(`# Keys of the Parapet reference server, made now and stored nowhere.
# 1. Write them to a file that only you can read: (umask 077; npm run --silent keys > keys.env)
# 2. Give every instance the same lines, by a secrets manager or an env file. Never commit them.
# 3. Keep a backup. Without FIELD_KEYSET, MFA_KEYS and PRIVACY_KEYS, what they encrypted is lost for
#    good; without AUDIT_KEY, nobody can continue the audit log; without PRIVACY_SECRET, a restore
#    brings back who was erased.
${Object.entries(keys)
  .map(([name, value]) => `${name}=${value}`)
  .join('\n')}
`)
