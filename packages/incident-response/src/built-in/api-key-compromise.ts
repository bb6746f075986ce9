/** An API key is known to others. */
export const apiKeyCompromise = `name: api_key_compromise
title: An API key is known to others
description: A key was published, or is used from where its owner is not.
severity: high
triggers:
  - api_key_compromise
phases:
  detection:
    duration: 15m
    actions:
      - capture_logs
  containment:
    duration: 15m
    actions:
      - disable_api_keys
      - terminate_sessions
      - block_addresses
  eradication:
    duration: 4h
    actions:
      - rotate_secrets
      - manual: Find out how the key left its place, and remove it there, also from histories and caches.
        timeout: 4h
  recovery:
    duration: 1d
    actions:
      - manual: Give the owner a new key with the least rights, and see that the service of the owner works.
        timeout: 1d
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team]
  within_24_hours: [account_owners]
`
