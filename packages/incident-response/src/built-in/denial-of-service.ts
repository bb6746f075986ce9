/** The service is flooded. */
export const denialOfService = `name: denial_of_service
title: The service is flooded
description: More requests than the service can answer, from few clients or many.
severity: high
triggers:
  - denial_of_service
phases:
  detection:
    duration: 10m
    actions:
      - capture_logs
  containment:
    duration: 30m
    actions:
      - tighten_limits
      - enable_captcha
      - block_addresses
      - while: minutes_open < 60
        max_rounds: 5
        do:
          - wait: 10m
          - if: severity = 'critical'
            then:
              - read_only
  eradication:
    duration: 4h
    actions:
      - manual: Ask the network provider to filter the flood, and find the request that costs most.
        timeout: 1h
  recovery:
    duration: 4h
    actions:
      - undo: all
      - manual: Watch latency and errors for an hour.
        timeout: 4h
  lessons_learned:
    duration: 7d
    actions:
      - post_mortem
notifications:
  immediate: [on_call, security_team]
`
