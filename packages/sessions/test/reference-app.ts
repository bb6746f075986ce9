/** Registers the plugin with all of its routes, for the generated reference. */
import { createPasswordCheck, generateKey, generateSecret, sessions } from '@parapet/sessions'
import type { FastifyInstance } from 'fastify'

export default async function register(app: FastifyInstance): Promise<void> {
  const issuer = 'https://api.example.com'
  await app.register(sessions, {
    issuer,
    audience: 'example-api',
    keys: { current: generateKey(generateSecret()) },
    secrets: [generateSecret()],
    prefix: '/auth',
    cookies: {},
    credentials: createPasswordCheck({ findAccount: async () => null }),
    account: {
      directory: {
        findById: async () => null,
        findByEmail: async () => null,
        savePassword: async () => false,
        verifyEmail: async () => false,
        saveEmail: async () => false,
      },
      messages: {
        sendPasswordReset: async () => {},
        sendEmailVerification: async () => {},
        sendMagicLink: async () => {},
        sendNotice: async () => {},
      },
      pages: {
        resetPassword: `${issuer}/reset-password`,
        verifyEmail: `${issuer}/verify-email`,
        undoEmailChange: `${issuer}/undo-email-change`,
        magicLink: `${issuer}/magic-link`,
      },
    },
    findUser: async () => null,
    linking: {},
    oidc: {
      example: {
        issuer: 'https://login.example.com',
        clientId: 'example',
        clientSecret: generateSecret(),
        redirectUri: `${issuer}/auth/oidc/example/callback`,
      },
    },
  })
}
