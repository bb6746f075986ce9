/** Data leaves in unusual amounts. */
export const dataExfiltration = `name: data_exfiltration
title: Data leaves in unusual amounts
description: Enumeration, mass export, scraping or slow transfer of data.
severity: high
triggers:
  - data_exfiltration
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
      - tighten_limits
      - parallel:
          - terminate_sessions
          - disable_api_keys
          - block_addresses
  eradication:
    duration: 1d
    actions:
      - manual: List which records were read, by whom, and whether they are personal.
        timeout: 4h
      - if: records > 0
        then:
          - manual: Decide whether this is a data breach; if so, run the playbook data_breach.
            timeout: 2h
  recovery:
    duration: 1d
    actions:
      - manual: Restore the limits and the access of those who did nothing wrong.
        timeout: 1d
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [security_team]
  within_1_hour: [data_protection]
`
