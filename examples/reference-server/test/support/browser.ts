/** Chromium for tests: pages whose errors and violations are collected. */
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { chromium, type Browser, type BrowserContext, type Page } from 'playwright-core'
import type { Test } from 'tap'

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

/** @returns `null` if there is no Chromium; the test is skipped by then. */
export async function launch(t: Test): Promise<Browser | null> {
  if (!existsSync(CHROMIUM)) {
    const message = 'no Chromium at /usr/bin/chromium; set CHROMIUM to its path'
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(message)
    else t.pass('needs Chromium', { skip: message })
    return null
  }
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    // The unusable proxy keeps pages from reaching any other machine.
    args: [
      '--no-sandbox',
      '--proxy-server=127.0.0.1:9',
      '--proxy-bypass-list=127.0.0.1;localhost',
      '--font-render-hinting=none',
    ],
  })
  t.after(() => browser.close())
  return browser
}

/** Opens a page, and collects errors, warnings and violations of its policy. */
export async function openPage(context: BrowserContext): Promise<{ page: Page; errors: string[] }> {
  const page = await context.newPage()
  page.setDefaultTimeout(30_000)
  const errors: string[] = []
  page.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) errors.push(message.text())
  })
  page.on('pageerror', (error) => void errors.push(error.message))
  await page.exposeFunction('reportViolation', (text: string) => void errors.push(text))
  await page.addInitScript(`
    addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) =>
      reportViolation('violation of ' + violatedDirective + ' by ' + blockedURI))
  `)
  return { page, errors }
}

/** A port that is free now: the origin of a page must be known before its server is configured. */
export async function findPort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
