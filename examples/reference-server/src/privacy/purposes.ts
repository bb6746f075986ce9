/** What users may consent to. A new text gets a new version; who agreed to the old one is asked again. */
import type { PrivacyOptions } from '@parapet/privacy'

/** The purposes, by the name that routes use in `config.consent`. */
export const purposes = {
  marketing_emails: {
    title: 'News by e-mail',
    noticeVersion: '2026-11',
    noticeText:
      'We send you news about artists and concerts, at most once a month. You can stop it at any time.',
    categories: ['user.contact.email'],
  },
  analytics_tracking: {
    title: 'Statistics of use',
    noticeVersion: '2026-11',
    noticeText: 'We count which pages you open, to make them better. We give this to nobody.',
    categories: ['user.behavior'],
    honoursGpc: true,
  },
  data_sharing: {
    title: 'Your profile for partners',
    noticeVersion: '2026-11',
    noticeText: 'Venues that work with us may read your public name. We never sell your data.',
    categories: ['user.name'],
    honoursGpc: true,
    expiresAfterDays: 365,
  },
} as const satisfies PrivacyOptions['purposes']
