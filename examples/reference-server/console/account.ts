/** The pages of links in messages: posts the token of the link when the person presses the button. */
const api = document.querySelector<HTMLMetaElement>('meta[name=parapet-api]')!.content
const heading = document.querySelector('h1')!
const problem = document.querySelector('#problem')!
const result = document.querySelector('#result')!
const link = document.querySelector<HTMLFormElement>('#link')!
const request = document.querySelector<HTMLFormElement>('#request')

const ACTIONS: Readonly<Record<string, { readonly path: string; readonly done: string }>> = {
  reset: {
    path: '/auth/password/reset',
    done: 'The new password is set. You can log in with it now.',
  },
  verify: { path: '/auth/email/verify', done: 'Your address is verified. You can log in now.' },
  change: { path: '/auth/email/verify', done: 'The account has this address now.' },
  undo: {
    path: '/auth/email/undo',
    done: 'The change is taken back. We have sent a link to set a new password.',
  },
}

const token = takeToken()
const [kind = ''] = token.split('.', 1)
const action = ACTIONS[kind]

/** The address bar and the history of the browser must not keep the token; a reload of the page may. */
function takeToken(): string {
  const found = new URLSearchParams(location.hash.slice(1)).get('token')
  if (found === null) return (history.state as { readonly token?: string } | null)?.token ?? ''
  history.replaceState({ token: found }, '', location.pathname)
  return found
}

function show(form: HTMLFormElement | null): void {
  for (const each of [link, request]) if (each !== null) each.hidden = each !== form
  for (const button of document.querySelectorAll('button')) button.disabled = false
}

function say(text: string, isProblem: boolean): void {
  result.textContent = isProblem ? '' : text
  problem.textContent = isProblem ? text : ''
}

/** @returns `null`, or what is wrong. */
async function post(path: string, body: object): Promise<{ code: string; text: string } | null> {
  const headers = { 'content-type': 'application/json' }
  const reply = await fetch(`${api}${path}`, {
    method: 'POST',
    headers,
    body: JSON.stringify(body),
  })
  if (reply.ok) return null
  const { code = '', detail = 'The server cannot answer now. Try it again later.' } = (await reply
    .json()
    .catch(() => ({}))) as { readonly code?: string; readonly detail?: string }
  return { code, text: detail }
}

async function send(form: HTMLFormElement, work: () => Promise<void>): Promise<void> {
  const button = form.querySelector('button')!
  button.disabled = true
  say('', false)
  try {
    await work()
  } catch {
    say('The server does not answer. Try it again later.', true)
  } finally {
    button.disabled = false
  }
}

/** A field that is hidden is not part of the body. */
function valuesOf(form: HTMLFormElement): Record<string, string> {
  const inputs = [...form.querySelectorAll('input')].filter((input) => !input.disabled)
  return Object.fromEntries(inputs.map(({ name, value }) => [name, value]))
}

async function useLink(): Promise<void> {
  const { path, done } = action!
  const refused = await post(path, { token, ...valuesOf(link) })
  if (refused === null) {
    history.replaceState(null, '', location.pathname)
    link.hidden = true
    say(done, false)
    heading.focus()
    return
  }
  say(refused.text, true)
  if (refused.code === 'PARAPET_SESSIONS_LINK_REFUSED') show(request)
}

async function askForLink(form: HTMLFormElement): Promise<void> {
  const refused = await post(form.dataset['path']!, valuesOf(form))
  if (refused !== null) return say(refused.text, true)
  form.hidden = true
  say('If the address has an account, a link is on its way.', false)
  heading.focus()
}

for (const part of document.querySelectorAll<HTMLElement>('[data-for]')) {
  part.hidden = part.dataset['for'] !== kind
  for (const input of part.querySelectorAll('input')) input.disabled = part.hidden
}
link.addEventListener('submit', (event) => {
  event.preventDefault()
  void send(link, useLink)
})
request?.addEventListener('submit', (event) => {
  event.preventDefault()
  void send(request, () => askForLink(request))
})
if (action !== undefined) show(link)
else if (request !== null) show(request)
else say('The link is not complete. Open it again from the message.', true)
