/** The audit log was changed. */
export const tamperedAuditLog = `name: tampered_audit_log
title: The audit log was changed
description: The proof of the log fails, or records were refused as forged.
severity: critical
triggers:
  - tampered_audit_log
phases:
  detection:
    duration: 10m
    actions:
      - preserve_evidence:
          - snapshot
          - capture_logs
          - verify_integrity
  containment:
    duration: 30m
    actions:
      - manual: Take away write access to the database and the spool of the log from everyone but the service.
        timeout: 15m
      - read_only
  eradication:
    duration: 4h
    actions:
      - manual: Compare the last checkpoint that a witness or a mirror has with the log, and find the first wrong record.
        timeout: 2h
      - rotate_secrets
  recovery:
    duration: 1d
    actions:
      - restore_from_backup
      - verify_integrity
      - undo: containment
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team, management]
  within_24_hours: [auditors]
`
