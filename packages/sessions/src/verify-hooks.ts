/** The library behind the gate: `@fastify/jwt`, one instance for each key. */
import fastifyJwt from '@fastify/jwt'
import type { FastifyInstance } from 'fastify'
import { PARAPET_SESSIONS_INVALID_KEY } from './errors.ts'
import type { Algorithm } from './jwk.ts'
import type { TokenVerifier } from './keys.ts'

/** What a verifier checks beside the signature. */
export interface ExpectedClaims {
  readonly issuer: string
  readonly audience: string
}

/**
 * Makes the verifier of one key. `@fastify/jwt` binds its key when it is registered and an app takes
 * no plugin after its start, while keys come and go; so each key gets an instance on a host of its
 * own. Times are not its business: they are read by the clock that was passed in.
 *
 * @see docs/adr/0501-gate-before-the-library.md
 */
export function createKeyVerifier(
  publicPem: string,
  algorithm: Algorithm,
  { issuer, audience }: ExpectedClaims,
): TokenVerifier {
  const host: { jwt?: { verify(token: string): unknown } } & Record<string, unknown> = {
    decorate: (name: string, value: unknown) => void (host[name] = value),
    decorateRequest: () => {},
    decorateReply: () => {},
  }
  let failure: Error | undefined
  fastifyJwt(
    host as unknown as FastifyInstance,
    {
      secret: { public: publicPem, private: '' },
      // `cache` stays off: it hands the same mutable payload to every request.
      verify: {
        algorithms: [algorithm],
        allowedIss: issuer,
        allowedAud: audience,
        checkTyp: 'at+jwt',
        ignoreExpiration: true,
        ignoreNotBefore: true,
      },
    },
    (error) => (failure = error),
  )
  const { jwt } = host
  if (failure !== undefined || jwt === undefined) {
    throw new PARAPET_SESSIONS_INVALID_KEY(algorithm, 'is refused by @fastify/jwt')
  }
  return (token) => jwt.verify(token)
}
