/** The theme in force: the chosen one, or that of the system. */
import { useEffect, useState } from 'preact/hooks'

export type Theme = 'dark' | 'light'

const KEY = 'parapet-theme'

/** Chooses a theme, also for the next visit; see `theme.ts`. */
export function chooseTheme(theme: Theme): void {
  document.documentElement.dataset['theme'] = theme
  localStorage.setItem(KEY, theme)
}

/** The theme; it changes with the choice and with the system. */
export function useTheme(): Theme {
  const [theme, setTheme] = useState(readTheme)
  useEffect(() => {
    const update = () => setTheme(readTheme())
    const observer = new MutationObserver(update)
    observer.observe(document.documentElement, { attributeFilter: ['data-theme'] })
    const media = matchMedia('(prefers-color-scheme: light)')
    media.addEventListener('change', update)
    return () => {
      observer.disconnect()
      media.removeEventListener('change', update)
    }
  }, [])
  return theme
}

function readTheme(): Theme {
  const chosen = document.documentElement.dataset['theme']
  if (chosen === 'light' || chosen === 'dark') return chosen
  return matchMedia('(prefers-color-scheme: light)').matches ? 'light' : 'dark'
}
