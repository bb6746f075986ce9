/** Passwords or tokens are guessed. */
export const bruteForce = `name: brute_force
title: Passwords or tokens are guessed
description: Someone tries many passwords, or one password on many accounts.
severity: medium
triggers:
  - brute_force
phases:
  detection:
    duration: 15m
    actions:
      - capture_logs
  containment:
    duration: 30m
    actions:
      - block_addresses
      - enable_captcha
      - if: principals > 0
        then:
          - protect_accounts:
              - require_step_up
              - terminate_sessions
  eradication:
    duration: 4h
    actions:
      - manual: Compare successful logins from the attacking networks with the usual ones of their accounts.
        timeout: 4h
      - if: severity >= 'high'
        then:
          - reset_passwords
  recovery:
    duration: 1d
    actions:
      - wait: 1h
      - manual: Check that the attempts have ended, then lift the blocks that hit others.
        timeout: 1d
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team]
`
