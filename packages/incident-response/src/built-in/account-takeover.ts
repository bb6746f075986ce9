/** An account is used by someone else. */
export const accountTakeover = `name: account_takeover
title: An account is used by someone else
description: A stolen session, a replayed token or a second factor under attack.
severity: high
triggers:
  - account_takeover
phases:
  detection:
    duration: 15m
    actions:
      - preserve_evidence:
          - capture_logs
  containment:
    duration: 30m
    actions:
      - lock_out:
          - terminate_sessions
          - revoke_tokens
          - require_step_up
      - block_addresses
  eradication:
    duration: 4h
    actions:
      - disable_api_keys
      - reset_passwords
      - manual: Ask the owner which logins, factors and changes of the account are not theirs, and undo those.
        timeout: 4h
  recovery:
    duration: 1d
    actions:
      - manual: Confirm with the owner that the account works and that its second factor is theirs.
        timeout: 1d
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team]
  within_24_hours: [account_owners]
`
