/**
 * `/account/new-password`, `/account/verify` and `/account/undo`: where the links of messages lead. A GET shows a form and
 * changes nothing, because mail scanners open every link. The token is in the fragment, which never reaches a server:
 * the script of the page posts it when the person presses the button.
 */
import { Type } from '@sinclair/typebox'
import type { FastifyInstance } from 'fastify'
import fp from 'fastify-plugin'
import { problems } from '../http/schemas.ts'
import { assetsOf, writePage, type PageOptions } from './write-page.ts'

interface AccountPage {
  readonly title: string
  readonly operationId: string
  /** The form of a link. */
  readonly form: string
  /** Where a person asks for another link; absent: nobody can. */
  readonly request?: { readonly path: string; readonly lead: string }
}

const field = (label: string, attributes: string, hint = '') => `
    <label class="field">
      <span class="field-label">${label}</span>
      <input class="input" required ${attributes}>${hint}
    </label>`
const button = (text: string) =>
  `<button type="submit" class="button button-primary button-wide" disabled>${text}</button>`
const hint = '<span class="field-hint" id="hint">At least 15 characters. Spaces count.</span>'

const PAGES: Readonly<Record<string, AccountPage>> = {
  'new-password': {
    title: 'Set a new password',
    operationId: 'getPasswordResetPage',
    form: `<p>All sessions and API keys of the account end.</p>${field(
      'New password',
      'type="password" name="password" autocomplete="new-password" minlength="15" maxlength="1024" aria-describedby="hint"',
      hint,
    )}${button('Set the password')}`,
    request: { path: '/auth/password/forgot', lead: 'Get a link to set a new password.' },
  },
  verify: {
    title: 'Verify your address',
    operationId: 'getVerificationPage',
    form: `<div data-for="verify">${field(
      'The password of your sign-up',
      'type="password" name="password" autocomplete="current-password" maxlength="1024"',
    )}</div>
    <p data-for="change" hidden>The address of your account changes to this one.</p>
    ${button('Verify')}`,
    request: { path: '/auth/email/verification', lead: 'Get a link to verify your address.' },
  },
  undo: {
    title: 'Take back the change',
    operationId: 'getUndoPage',
    form: `<p>The account gets its former address back, loses a second factor that was added since and was the first one,
    and all sessions end. A link to set a new password follows.</p>
    ${button('Take it back')}`,
  },
}

const config = {
  sessions: 'ignored',
  rbac: {
    public: 'the page itself has no data; the token of the link is checked when it is posted',
  },
  securityHeaders: { preset: 'web' },
} as const
const html = { content: { 'text/html': { schema: Type.String() } } }

async function accountPagesPlugin(app: FastifyInstance, options: PageOptions): Promise<void> {
  for (const [name, page] of Object.entries(PAGES)) {
    const schema = {
      operationId: page.operationId,
      summary: `The page of a link: ${page.title.toLowerCase()}`,
      tags: ['account'],
      response: { 200: { description: 'The page', ...html }, ...problems },
    }
    app.get(`/account/${name}`, { schema, config }, async (_request, reply) => {
      // Reading the nonce adds it to the policy of this response.
      const nonce = reply.cspNonce.script
      return reply.type('text/html; charset=utf-8').send(write(page, options, nonce))
    })
  }
}

/** The buttons work when the script is there: without it, a browser would send the fields to the page itself. */
function write({ title, form, request }: AccountPage, options: PageOptions, nonce: string): string {
  const email = 'type="email" name="email" autocomplete="username" maxlength="254"'
  const another =
    request === undefined
      ? ''
      : `
  <form class="stack" method="post" id="request" data-path="${request.path}" hidden>
    <p>${request.lead}</p>${field('E-mail address', email)}
    ${button('Send the link')}
  </form>`
  return writePage(options, {
    title,
    head: `<meta name="robots" content="noindex">
<script nonce="${nonce}" type="module" src="${assetsOf(options.bundle)}/account.js"></script>`,
    body: `<main class="sign-in">
<div class="sign-in-card">
  <h1 tabindex="-1">${title}</h1>
  <p role="alert" class="field-error" id="problem"></p>
  <p role="status" id="result"></p>
  <form class="stack" method="post" id="link" hidden>
    ${form}
  </form>${another}
  <noscript><p>This page needs JavaScript: the secret of the link stays in your browser until you press the button.</p></noscript>
</div>
</main>`,
  })
}

/** The pages. */
export const accountPages = fp(accountPagesPlugin, { name: 'account-pages', fastify: '5.x' })
