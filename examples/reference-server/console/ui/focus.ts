/** Where the focus goes when its element is gone. */

/** Focuses the heading of the page: a screen reader reads on from there. */
export function focusHeading(): void {
  const isLost = document.activeElement === null || document.activeElement === document.body
  if (isLost) document.querySelector<HTMLElement>('main h1')?.focus()
}
