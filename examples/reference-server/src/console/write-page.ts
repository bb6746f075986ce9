/** What the pages under the strictest policy have in common: the styles of the console, and no inline code. */
import type { ConsoleBundle } from './bundle.ts'

/** What a page needs from outside. */
export interface PageOptions {
  readonly bundle: ConsoleBundle
  /** Where the routes of the API begin, for instance `/api/v1`; empty: at the root. */
  readonly apiPrefix: string
}

/** One page. */
export interface Page {
  readonly title: string
  /** Further elements of the head. */
  readonly head: string
  readonly body: string
}

/** The path of the files of a bundle. */
export function assetsOf({ hash }: ConsoleBundle): string {
  return `/console/assets/${hash}`
}

/** Writes a page. */
export function writePage({ bundle, apiPrefix }: PageOptions, { title, head, body }: Page): string {
  const assets = assetsOf(bundle)
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>${title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<meta name="parapet-api" content="${apiPrefix}">
<link rel="icon" type="image/svg+xml" href="${assets}/icon.svg">
<link rel="stylesheet" href="${assets}/console.css">
${head}
</head>
<body>
${body}
</body>
</html>
`
}
