/** Starts Chromium for tests, and opens pages whose errors are collected. */
import { existsSync } from 'node:fs'
import { chromium, type Browser, type Page } from 'playwright-core'
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
      '--short-reporting-delay',
    ],
  })
  t.after(() => browser.close())
  return browser
}

/** Opens a page and collects the errors and warnings of the browser. */
export async function open(browser: Browser): Promise<{ page: Page; errors: string[] }> {
  const page = await browser.newPage()
  page.setDefaultTimeout(40_000)
  const errors: string[] = []
  page.on(
    'console',
    (message) =>
      void (['error', 'warning'].includes(message.type()) && errors.push(message.text())),
  )
  page.on('pageerror', (error) => void errors.push(error.message))
  return { page, errors }
}
