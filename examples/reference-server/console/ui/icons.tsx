/** Line icons on a grid of 20, drawn with the current colour. */
const PATHS = {
  overview: 'M3 17V9h3V6h3v3h2V4h3v5h3v8H3Z',
  feed: 'M3 5h14M3 10h9M3 15h14',
  incidents: 'M10 3 18 17H2L10 3Zm0 5v4m0 2.5v.01',
  anomalies: 'M2 12h3l2-6 3 10 2.5-8 1.5 4h4',
  blocks: 'M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14ZM5 5l10 10',
  audit: 'M5 3h7l3 3v11H5V3Zm2.5 8 2 2 3.5-4',
  access: 'M3 3h5v5H3V3Zm9 0h5v5h-5V3ZM3 12h5v5H3v-5Zm9 2.5h5m-2.5-2.5v5',
  sessions: 'M3 4h14v9H3V4Zm4 13h6m-3-4v4',
  privacy: 'M10 10a3 3 0 1 0 0-6 3 3 0 0 0 0 6Zm-6 7c0-3 2.7-5 6-5s6 2 6 5',
  keys: 'M7 13a4 4 0 1 1 3.5-5.9L17 7v3h-2v2h-3l-1-.6A4 4 0 0 1 7 13Zm-.5-4v.01',
  account:
    'M10 2.5 16.5 5v5c0 4-2.8 6.6-6.5 7.5C6.3 16.6 3.5 14 3.5 10V5L10 2.5Zm-2.5 7 2 2 3.5-3.5',
  sun: 'M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7ZM10 2v1.5M10 16.5V18M2 10h1.5M16.5 10H18M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1',
  moon: 'M16 12.5A6.5 6.5 0 0 1 7.5 4a6.5 6.5 0 1 0 8.5 8.5Z',
  out: 'M8 4H4v12h4m3-9 3 3-3 3m3-3H8',
  pause: 'M7 5v10M13 5v10',
  play: 'M7 5v10l8-5-8-5Z',
  check: 'm4 10.5 4 4 8-9',
  cross: 'M5 5l10 10M15 5 5 15',
  chevron: 'm7 4 6 6-6 6',
  download: 'M10 3v9m-3.5-3.5L10 12l3.5-3.5M4 16h12',
  search: 'M9 4a5 5 0 1 0 0 10A5 5 0 0 0 9 4Zm4 9 4 4',
  refresh: 'M16 10a6 6 0 1 1-1.8-4.3L16 7.5M16 3.5v4h-4',
  menu: 'M3 5h14M3 10h14M3 15h14',
} as const

/** The name of an icon. */
export type IconName = keyof typeof PATHS

/** An icon. It is decoration: the text beside it, or the label of its button, names it. */
export function Icon({ name, size = 18 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg
      class="icon"
      viewBox="0 0 20 20"
      width={size}
      height={size}
      aria-hidden="true"
      focusable="false"
    >
      <path d={PATHS[name]} />
    </svg>
  )
}

/** The mark: a battlement. */
export function Mark({ size = 22 }: { readonly size?: number }) {
  return (
    <svg class="mark" viewBox="0 0 24 24" width={size} height={size} aria-hidden="true">
      <path d="M2 21V8h4v3h3V4h6v7h3V8h4v13h-7v-4a3 3 0 0 0-6 0v4H2Z" />
    </svg>
  )
}
