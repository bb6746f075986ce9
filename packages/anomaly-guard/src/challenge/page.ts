/** The page of the challenge: works by keyboard and screen reader, without inline scripts or styles. */

/** The paths that the page uses, all on this service. */
export interface PagePaths {
  readonly widget: string
  readonly script: string
  readonly style: string
  readonly challenge: string
  readonly answer: string
}

/** The Content-Security-Policy of the page: nothing but its own files. */
export const PAGE_POLICY =
  "default-src 'none'; script-src 'self'; style-src 'self'; style-src-attr 'unsafe-inline'; img-src 'self' data:; " +
  "connect-src 'self'; worker-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

/** Renders the page. @param next where the client goes on, a checked local path @param failed the last answer was wrong */
export function renderPage(paths: PagePaths, next: string, failed: boolean): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>One moment: a check before you continue</title>
<link rel="stylesheet" href="${escapeHtml(paths.style)}">
</head>
<body>
<main>
<h1>One moment, please</h1>
<p>There was unusual activity from your network. Your browser solves a small calculation, which takes a few seconds; you need not do anything.</p>
${failed ? '<p role="alert">The last answer was not accepted. Please try again.</p>\n' : ''}<form method="post" action="${escapeHtml(paths.answer)}">
<input type="hidden" name="next" value="${escapeHtml(next)}">
<altcha-widget challenge="${escapeHtml(paths.challenge)}" auto="onload" name="altcha" language="en"></altcha-widget>
<p id="state" role="status" aria-live="polite">The calculation starts.</p>
<button type="submit" id="continue" disabled>Continue</button>
</form>
<noscript><p>This check needs JavaScript. Switch it on and load the page again, or try again later.</p></noscript>
</main>
<script type="module" src="${escapeHtml(paths.widget)}"></script>
<script type="module" src="${escapeHtml(paths.script)}"></script>
</body>
</html>
`
}

/** The script of the page. @param worker the path of the worker that computes */
export function renderScript(worker: string): string {
  return `const state = document.getElementById('state')
const button = document.getElementById('continue')
const form = document.querySelector('form')
$altcha.algorithms.set('PBKDF2/SHA-256', () => new Worker(${JSON.stringify(worker)}))
const texts = {
  verifying: 'The calculation is running.',
  verified: 'Done. You are being taken back.',
  error: 'The calculation failed. Load the page again.',
  expired: 'The check has expired. Load the page again.',
}
document.querySelector('altcha-widget').addEventListener('statechange', ({ detail }) => {
  if (texts[detail.state]) state.textContent = texts[detail.state]
  if (detail.state !== 'verified') return
  button.disabled = false
  form.requestSubmit(button)
})
`
}

/** The style of the page. */
export const PAGE_STYLE = `body { font: 1.125rem/1.5 system-ui, sans-serif; margin: 0; color: #1a1a1a; background: #fff }
main { max-width: 36rem; margin: 10vh auto; padding: 0 1rem }
button { font: inherit; padding: .5rem 1.25rem; border: 2px solid #1a1a1a; border-radius: .25rem; background: #fff; color: inherit }
button:disabled { border-color: #767676; color: #595959 }
:focus-visible { outline: 3px solid #0b57d0; outline-offset: 2px }
@media (prefers-color-scheme: dark) {
  body { color: #f2f2f2; background: #121212 }
  button { border-color: #f2f2f2; background: #121212 }
  button:disabled { border-color: #9a9a9a; color: #b5b5b5 }
}
`

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`)
}

/**
 * The path to go on to. Only a path of this service is kept: another origin, or what a browser would read as
 * one, becomes `/`.
 */
export function localPath(next: unknown): string {
  if (typeof next !== 'string' || next.length > 2000 || !/^\/(?![/\\])/.test(next)) return '/'
  // Browsers drop tabs and line breaks, so that "/\t/host" would become "//host".
  // eslint-disable-next-line no-control-regex -- it is what the expression is for
  if (/[\0-\x1f\\]/.test(next)) return '/'
  const url = new URL(next, 'http://local.invalid')
  // "/..//host" is normalised to "//host".
  const isLocal = url.host === 'local.invalid' && !url.pathname.startsWith('//')
  return isLocal ? `${url.pathname}${url.search}` : '/'
}
