/** Every error of this plugin. Each constant has the name of its code. No message contains a value. */
import { createError } from '@fastify/error'

/**
 * Thrown at boot when an option is unknown, has the wrong type or is out of range.
 * Fix: correct every option that the message lists.
 */
export const PARAPET_SECRETS_INVALID_OPTION = createError<[plugin: string, faults: string]>(
  'PARAPET_SECRETS_INVALID_OPTION',
  '%s was registered with invalid options; correct these:\n%s',
)

/**
 * Thrown by `readEnvironment` when variables are missing or invalid; the message lists all of them, and
 * no value.
 * Fix: correct every variable that the message lists.
 */
export const PARAPET_SECRETS_INVALID_ENVIRONMENT = createError<[faults: string]>(
  'PARAPET_SECRETS_INVALID_ENVIRONMENT',
  'The environment is invalid; correct these variables:\n%s',
)

/**
 * Thrown when a schema of variables uses what a variable cannot hold.
 * Fix: use strings, numbers, booleans, choices, lists of these, or `secretText`.
 */
export const PARAPET_SECRETS_INVALID_SCHEMA = createError<[variable: string, problem: string]>(
  'PARAPET_SECRETS_INVALID_SCHEMA',
  'The schema of the variable "%s" is invalid: %s',
)

/**
 * Thrown when a file of environment variables cannot be read.
 * Fix: let the service read the file, or remove it.
 */
export const PARAPET_SECRETS_FILE_UNREADABLE = createError<[file: string, reason: string]>(
  'PARAPET_SECRETS_FILE_UNREADABLE',
  'The file %s cannot be read: %s',
)

/**
 * Thrown when a secret is used in a sum or a calculation, for instance `'key=' + secret`.
 * Fix: read the value by `use((value) => …)` where it is needed.
 */
export const PARAPET_SECRETS_OPAQUE = createError<[]>(
  'PARAPET_SECRETS_OPAQUE',
  'A secret cannot be turned into text; read it by use((value) => ...)',
)

/**
 * Thrown at boot when secrets cannot be loaded; the message lists all of them.
 * Fix: check each provider that the message names.
 */
export const PARAPET_SECRETS_NOT_LOADED = createError<[faults: string]>(
  'PARAPET_SECRETS_NOT_LOADED',
  'Secrets could not be loaded:\n%s',
)

/**
 * Thrown when code asks for a secret that the option `secrets` does not list.
 * Fix: add it to the option, or correct its name.
 */
export const PARAPET_SECRETS_UNKNOWN = createError<[name: string]>(
  'PARAPET_SECRETS_UNKNOWN',
  'The secret "%s" is not listed in the option "secrets"',
)

/**
 * Thrown when a secret could not be refreshed for longer than `maxStaleMs`; it may have been revoked.
 * Fix: restore the connection to the provider; the next refresh ends this state.
 */
export const PARAPET_SECRETS_STALE = createError<[name: string]>(
  'PARAPET_SECRETS_STALE',
  'The secret "%s" could not be refreshed for too long',
  503,
)

/**
 * Thrown when a provider has no such secret, or no such member of it.
 * Fix: create the secret, or correct its path.
 */
export const PARAPET_SECRETS_NOT_FOUND = createError<[place: string]>(
  'PARAPET_SECRETS_NOT_FOUND',
  'There is no secret at %s',
  503,
)

/**
 * Thrown when a provider cannot be reached, refuses, or answers with what it should not.
 * Fix: read the reason; check the address, the credentials and the policy of the provider.
 */
export const PARAPET_SECRETS_PROVIDER_FAILED = createError<[provider: string, reason: string]>(
  'PARAPET_SECRETS_PROVIDER_FAILED',
  'The provider %s failed: %s',
  503,
)

/**
 * Thrown when a provider does not answer in time.
 * Fix: check the network and the provider, or raise its `deadlineMs`.
 */
export const PARAPET_SECRETS_PROVIDER_TIMEOUT = createError<[provider: string, ms: number]>(
  'PARAPET_SECRETS_PROVIDER_TIMEOUT',
  'The provider %s did not answer within %s ms',
  503,
)

/**
 * Thrown when a secret was changed by another writer since it was read (check-and-set).
 * Fix: read it again and decide anew; a rotation does that by itself.
 */
export const PARAPET_SECRETS_CONFLICT = createError<[place: string]>(
  'PARAPET_SECRETS_CONFLICT',
  'The secret at %s was changed by another writer',
  409,
)

/**
 * Thrown when a hook of `onRotate` fails: the former value stays current, and hooks that had run were
 * rolled back.
 * Fix: read `cause`; the next refresh tries again.
 */
export const PARAPET_SECRETS_ROTATION_FAILED = createError<
  [name: string, reason: string, options?: { readonly cause: unknown }]
>(
  'PARAPET_SECRETS_ROTATION_FAILED',
  'The rotation of "%s" failed, its former value stays current: %s',
)

/**
 * Thrown when a step of the rotation of a key fails: the message says which; both keys still work.
 * Fix: read `cause`; the job tries again, and `status` says where it stands.
 */
export const PARAPET_SECRETS_KEY_ROTATION_FAILED = createError<
  [name: string, step: string, options?: { readonly cause: unknown }]
>(
  'PARAPET_SECRETS_KEY_ROTATION_FAILED',
  'The rotation of the key "%s" failed at the step "%s"; both keys still work',
)

/**
 * Thrown at boot in production when `doctor` finds an error, such as a weak secret.
 * Fix: correct what the message lists.
 */
export const PARAPET_SECRETS_UNSAFE = createError<[findings: string]>(
  'PARAPET_SECRETS_UNSAFE',
  'The secrets are unsafe:\n%s',
)

/**
 * Thrown in place of a reply that contains a loaded secret.
 * Fix: find out why the route returns it; the log names the secret and the route.
 */
export const PARAPET_SECRETS_LEAK = createError<[]>(
  'PARAPET_SECRETS_LEAK',
  'The reply was withheld',
)
