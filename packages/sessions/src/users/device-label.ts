/** Names a device for its user. The user agent is what the client says of itself: never decide by it. */

const BROWSERS: readonly (readonly [name: string, mark: RegExp])[] = [
  ['Edge', /\bEdg(?:e|A|iOS)?\//],
  ['Opera', /\bOPR\//],
  ['Samsung Internet', /\bSamsungBrowser\//],
  ['Firefox', /\b(?:Firefox|FxiOS)\//],
  ['Chrome', /\b(?:Chrome|CriOS|Chromium)\//],
  ['Safari', /\bVersion\/[\d.]+ .{0,40}Safari\//],
]
const SYSTEMS: readonly (readonly [name: string, mark: RegExp])[] = [
  ['iPhone', /\biPhone\b/],
  ['iPad', /\biPad\b/],
  ['Android', /\bAndroid\b/],
  ['Windows', /\bWindows\b/],
  ['ChromeOS', /\bCrOS\b/],
  ['macOS', /\bMac OS X\b/],
  ['Linux', /\bLinux\b/],
]
const PROGRAM = /^([A-Za-z][\w.-]{0,30})\//

/** `Firefox on Linux`, `curl`, or `Unknown device`. */
export function deviceLabel(userAgent: string | undefined): string {
  const text = (userAgent ?? '').slice(0, 512)
  const browser = BROWSERS.find(([, mark]) => mark.test(text))?.[0]
  const system = SYSTEMS.find(([, mark]) => mark.test(text))?.[0]
  if (browser !== undefined && system !== undefined) return `${browser} on ${system}`
  const program = PROGRAM.exec(text)?.[1]
  if (browser !== undefined || system !== undefined) return (browser ?? system)!
  return program === undefined || program === 'Mozilla' ? 'Unknown device' : program
}
