/** The options of `@parapet/secrets`, and what follows a secret that has changed. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createKeysetCipher } from '@parapet/field-encryption'
import { systemClock, type Clock } from '@parapet/kit'
import { createFileProvider, type SecretsOptions } from '@parapet/secrets'
import type { FastifyInstance } from 'fastify'
import type { Config } from '../config/environment.ts'
import { readJson, readPem } from '../config/key-text.ts'

/** The secrets that may change while the server runs. */
const FOLLOWED = ['SIGNING_KEY', 'FIELD_KEYSET', 'DATABASE_URL'] as const
/** Other instances notice a new key first: a Kubernetes volume may take more than a minute. */
const PROMOTE_AFTER_MS = 120_000

/** Follows the files in `SECRETS_DIR`. */
export function createSecretsOptions(config: Config): SecretsOptions {
  const { secretsDir, secrets, isProduction } = config
  const environment = isProduction ? 'production' : 'development'
  if (secretsDir === undefined) return { config: secrets, environment }
  const provider = createFileProvider({ directory: secretsDir })
  const files = FOLLOWED.filter((name) => existsSync(join(secretsDir, name)))
  return {
    // A followed secret is known to the doctor by its file.
    config: Object.fromEntries(
      Object.entries(secrets).filter(([name]) => !files.some((file) => file === name)),
    ),
    secrets: Object.fromEntries(files.map((name) => [name, { provider, refreshMs: 60_000 }])),
    environment,
  }
}

/** Whether a secret is in a file that is followed. */
export function isFollowed({ secretsDir }: Config, name: (typeof FOLLOWED)[number]): boolean {
  return secretsDir !== undefined && existsSync(join(secretsDir, name))
}

/** The secrets that are followed. */
export function followedSecrets(config: Config): readonly string[] {
  return FOLLOWED.filter((name) => isFollowed(config, name))
}

const doNothing = (): void => {}

/** Publishes a new signing key at once, and signs with it when every instance has it. */
export function followSigningKey(
  app: FastifyInstance,
  config: Config,
  clock: Clock = systemClock,
): void {
  if (!isFollowed(config, 'SIGNING_KEY')) return
  const promotion = { cancel: doNothing }
  const keyOf = (pem: string) => ({ pem: readPem(pem), passphrase: config.signingKeyPassphrase })
  app.secrets.onRotate('SIGNING_KEY', ({ next: nextSecret, former }) => {
    const [current, next] = [former.use(keyOf), nextSecret.use(keyOf)]
    app.sessions.rotateKeys({ current, next })
    promotion.cancel()
    promotion.cancel = clock.schedule(PROMOTE_AFTER_MS, () =>
      app.sessions.rotateKeys({ current: next }),
    )
  })
  app.addHook('onClose', async () => promotion.cancel())
}

/**
 * Reads the keyset of fields, and follows it.
 *
 * A new keyset must open what the former one sealed: add a key, let every instance have it, then make it
 * primary.
 */
export function followKeyset(
  app: FastifyInstance,
  config: Config,
  keyset: string,
): string | (() => string) {
  if (!isFollowed(config, 'FIELD_KEYSET')) return keyset
  const state = { keyset }
  app.secrets.onRotate('FIELD_KEYSET', async ({ next }) => {
    const former = state.keyset
    const replacement = next.use(readJson)
    const context = ['rotation']
    const sealed = await createKeysetCipher(former).seal('probe', context)
    await createKeysetCipher(replacement).open(sealed, context)
    state.keyset = replacement
    return () => {
      state.keyset = former
    }
  })
  return () => state.keyset
}
