/** Chromium for the tests that need a real browser. */
import { existsSync } from 'node:fs'
import { chromium, type Browser, type BrowserContext } from 'playwright-core'
import type { Test } from 'tap'

const CHROMIUM = process.env['CHROMIUM'] ?? '/usr/bin/chromium'

let shared: Promise<Browser> | undefined

/** A browser profile of its own, or `null` if there is no Chromium. */
export async function launch(t: Test): Promise<BrowserContext | null> {
  if (!existsSync(CHROMIUM)) {
    const message = 'no Chromium at /usr/bin/chromium; set CHROMIUM to its path'
    if (process.env['PARAPET_REQUIRE_SERVICES'] === '1') t.fail(message)
    else t.pass('needs Chromium', { skip: message })
    return null
  }
  // The unusable proxy keeps pages from reaching any other machine.
  const proxy = ['--proxy-server=127.0.0.1:9', '--proxy-bypass-list=127.0.0.1;*.localhost']
  shared ??= chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox', ...proxy] })
  const context = await (await shared).newContext()
  context.setDefaultTimeout(40_000)
  t.after(() => context.close())
  return context
}

/** Ends the browser. The last test of a file calls it, because the runner waits for a browser that is open. */
export async function closeBrowser(): Promise<void> {
  await (await shared)?.close()
}
