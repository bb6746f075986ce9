/** Personal or secret data was taken. */
export const dataBreach = `name: data_breach
title: Personal or secret data was taken
description: >-
  Isolates what is affected, keeps the evidence, removes the access of the attacker, restores trusted data and tells
  those who must know in time.
severity: critical
triggers:
  - data_breach
phases:
  detection:
    duration: 15m
    actions:
      - preserve_evidence:
          - snapshot
          - capture_logs
  containment:
    duration: 1h
    actions:
      - isolate:
          - terminate_sessions
          - block_accounts
          - disable_api_keys
          - block_addresses
      - if: failed_actions > 0
        then:
          - manual: Some measures have failed. Isolate what they were for by hand.
            timeout: 15m
  eradication:
    duration: 4h
    actions:
      - remove_access:
          - revoke_tokens
          - reset_passwords
          - rotate_secrets
      - manual: Close the hole through which the data left, and say how.
        timeout: 4h
  recovery:
    duration: 1d
    actions:
      - restore_trust:
          - verify_integrity
          - restore_from_backup
      - undo: containment
      - manual: Check that the service works for everyone who may use it.
        timeout: 4h
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
      - manual: Hold the review, and file what changes because of it.
        timeout: 7d
notifications:
  immediate: [security_team, management]
  within_1_hour: [legal, data_protection]
  within_24_hours: [supervisory_authority, affected_users]
`
