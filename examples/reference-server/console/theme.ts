/** Applies the chosen theme before the page is drawn; without a choice the system decides. */
const KEY = 'parapet-theme'
const stored = localStorage.getItem(KEY)
if (stored === 'light' || stored === 'dark') document.documentElement.dataset['theme'] = stored
