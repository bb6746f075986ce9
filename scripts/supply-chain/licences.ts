/** The licences of the packages that are installed with ours. */

/** Licences that a user of the packages can accept without asking: permissive ones. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'CC-BY-4.0',
  'ISC',
  'MIT',
  'MIT-0',
  'Python-2.0',
  'Unlicense',
  'WTFPL',
  'Zlib',
])

/** A licence beyond the list, accepted by hand. */
interface Exception {
  readonly licence: string
  readonly reason: string
}

/** Packages that are accepted by hand, with the reason. */
const EXCEPTIONS: Readonly<Record<string, Exception>> = {
  '@fontsource-variable/geist': {
    licence: 'OFL-1.1',
    reason: "Font of the reference server's console. It may be distributed with any software.",
  },
  '@fontsource-variable/geist-mono': {
    licence: 'OFL-1.1',
    reason: "Font of the reference server's console. It may be distributed with any software.",
  },
}

/** What `pnpm licenses list --json` prints: licence → packages. */
export type LicenceList = Readonly<
  Record<string, readonly { readonly name: string; readonly versions?: readonly string[] }[]>
>

/** Lists packages whose licence is not allowed. */
export function findLicenceFaults(
  list: LicenceList,
  exceptions: Readonly<Record<string, Exception>> = EXCEPTIONS,
): string[] {
  return Object.entries(list).flatMap(([licence, packages]) =>
    isAllowed(licence)
      ? []
      : packages
          .filter(
            ({ name }) => exceptions[name]?.licence !== licence && !name.startsWith('@parapet/'),
          )
          .map(({ name }) => `${name}: ${licence}`),
  )
}

/** An SPDX expression: one alternative of OR must be allowed, and every part of AND. */
function isAllowed(expression: string): boolean {
  const bare = expression.replaceAll(/^\(|\)$/g, '')
  return bare
    .split(/\s+OR\s+/)
    .some((choice) =>
      choice.split(/\s+AND\s+/).every((part) => ALLOWED.has(part.replaceAll(/[()*]/g, '').trim())),
    )
}
