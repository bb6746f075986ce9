/** Someone has more rights than they may. */
export const privilegeEscalation = `name: privilege_escalation
title: Someone has more rights than they may
description: A role was granted out of turn, or a check of rights was passed by.
severity: critical
triggers:
  - privilege_escalation
phases:
  detection:
    duration: 15m
    actions:
      - preserve_evidence:
          - snapshot
          - capture_logs
  containment:
    duration: 30m
    actions:
      - block_accounts
      - terminate_sessions
      - disable_api_keys
  eradication:
    duration: 4h
    actions:
      - manual: Compare roles and policy with the approved ones, and take back what nobody approved.
        timeout: 2h
      - rotate_secrets
      - manual: Review what was done with the rights, from the audit log.
        timeout: 4h
  recovery:
    duration: 1d
    actions:
      - verify_integrity
      - undo: containment
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team, management]
`
