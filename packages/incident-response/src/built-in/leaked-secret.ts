/** A secret was published. */
export const leakedSecret = `name: leaked_secret
title: A secret was published
description: A password, key or token was found in a reply, a log, a repository or elsewhere.
severity: critical
triggers:
  - leaked_secret
phases:
  detection:
    duration: 15m
    actions:
      - capture_logs
  containment:
    duration: 1h
    actions:
      - rotate_secrets
      - manual: Remove the secret from where it can be read, also from caches and backups.
        timeout: 1h
  eradication:
    duration: 4h
    actions:
      - switch: severity
        cases:
          critical:
            - revoke_tokens
            - terminate_sessions
        default:
          - manual: Decide whether sessions that the secret has signed must end.
            timeout: 2h
      - manual: Search the audit log for uses of the secret since it leaked.
        timeout: 4h
  recovery:
    duration: 1d
    actions:
      - manual: See that every service uses the new secret, then revoke the old one for good.
        timeout: 1d
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team]
`
