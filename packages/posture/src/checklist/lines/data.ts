/** The lines on errors, secrets, logs, audit, personal data, backups and incidents. */
import type { Section } from '../line.ts'

/** What failures reveal. */
export const errorLeakage: Section = {
  name: 'error leakage',
  about: 'What failures and forgotten routes reveal.',
  lines: {
    'ERR-01': {
      title: 'Errors reveal no stack, path, query or version',
      severity: 'high',
      checkedBy: ['requests', 'source'],
      fix: 'Answer with a code and a general text; write the error to the log.',
      asvs: ['V16.5.1'],
    },
    'ERR-02': {
      title: 'The message of an unexpected error stays in the log',
      severity: 'medium',
      checkedBy: ['app', 'requests'],
      fix: 'Set an error handler that replaces the message of every 5xx.',
      asvs: ['V16.5.1', 'V16.5.4'],
    },
    'ERR-03': {
      title: 'No debugging or documentation page is public by accident',
      severity: 'medium',
      checkedBy: ['requests', 'app'],
      fix: 'Remove the route in production, or put it behind an administrative role.',
      asvs: ['V13.4.2', 'V13.4.5'],
    },
    'ERR-04': {
      title: 'No file of the project or its version control is served',
      severity: 'critical',
      checkedBy: ['requests'],
      fix: 'Serve one folder that holds public files only, and deny names that begin with a dot.',
      asvs: ['V13.4.1', 'V13.4.7'],
    },
    'ERR-05': {
      title: 'Folders are not listed, and TRACE is not answered',
      severity: 'low',
      checkedBy: ['requests', 'app', 'source'],
      fix: 'Remove "list: true" and the route of TRACE.',
      asvs: ['V13.4.3', 'V13.4.4'],
    },
  },
}

/** Keys, passwords and tokens. */
export const secrets: Section = {
  name: 'secrets',
  about: 'Keys, passwords and tokens in the environment, the source and responses.',
  lines: {
    'SEC-01': {
      title: 'Secrets in the environment are strong and were not copied from an example',
      severity: 'critical',
      checkedBy: ['environment'],
      fix: 'Generate each secret anew for each environment: "openssl rand -base64 32".',
      asvs: ['V13.2.3', 'V11.2.3'],
    },
    'SEC-02': {
      title: 'No response contains a secret',
      severity: 'critical',
      checkedBy: ['requests'],
      fix: 'Return listed members only; declare a response schema.',
      asvs: ['V15.3.1', 'V14.2.6'],
    },
    'SEC-03': {
      title: 'No secret is written in the source, not even as a default',
      severity: 'critical',
      checkedBy: ['source', 'project'],
      fix: 'Read it from the environment or a vault, stop the boot without it, and revoke the one in the history.',
      asvs: ['V13.3.1'],
    },
    'SEC-04': {
      title: 'Files with secrets are not part of the project',
      severity: 'high',
      checkedBy: ['project'],
      fix: 'Add .env files and private keys to .gitignore, remove them from the history, and replace what they contain.',
      asvs: ['V13.3.1'],
    },
    'SEC-05': {
      title: 'Secrets come from a vault, and are rotated',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Keep secrets in a manager with access control, and rotate them on a schedule.',
      asvs: ['V13.3.1', 'V13.3.4', 'V13.1.4'],
    },
  },
}

/** What is written down. */
export const logging: Section = {
  name: 'logging and redaction',
  about: 'What the log contains, and what it must not.',
  lines: {
    'LOG-01': {
      title: 'The app writes a log, and not at a level of debugging',
      severity: 'medium',
      checkedBy: ['app'],
      fix: 'Create the app with a logger at the level "info".',
      asvs: ['V16.2.1', 'V13.4.2'],
    },
    'LOG-02': {
      title: 'Bodies, headers with credentials and passwords are not logged',
      severity: 'high',
      checkedBy: ['source', 'app'],
      fix: 'Log names of members, not values; redact authorization, cookie, password and token.',
      asvs: ['V16.2.5'],
    },
    'LOG-03': {
      title: 'Logins, refusals and attacks are logged as security events',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Log each login, failed login, refusal of access and failed validation with who, what, when and from where.',
      asvs: ['V16.3.1', 'V16.3.2', 'V16.3.3'],
    },
    'LOG-04': {
      title: 'Logs leave the machine, and somebody is alerted',
      severity: 'medium',
      checkedBy: ['person'],
      fix: 'Send logs to a separate system with alerts, and limit who can read and delete them.',
      asvs: ['V16.4.2', 'V16.4.3'],
    },
  },
}

/** Who changed what. */
export const audit: Section = {
  name: 'audit',
  about: 'Who changed what, and whether the record can be trusted.',
  lines: {
    'AUD-01': {
      title: 'Every state-changing route leaves an audit record',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Record who did what to which object, with the result, before the response is sent.',
      asvs: ['V16.3.3', 'V16.2.1'],
    },
    'AUD-02': {
      title: 'Changes of the audit trail are detected',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Chain or sign the records, keep the key apart, and verify the trail on a schedule.',
      asvs: ['V16.4.2'],
    },
  },
}

/** Data about people, and cryptography. */
export const personalData: Section = {
  name: 'encryption of personal data',
  about: 'Fields that are marked personal, and the cryptography that protects them.',
  lines: {
    'ENC-01': {
      title: 'Fields that are marked personal are encrypted in storage',
      severity: 'high',
      checkedBy: ['app', 'source', 'person'],
      fix: 'Encrypt each field with AES-256-GCM under a key outside the database.',
      asvs: ['V14.1.2', 'V14.2.4'],
    },
    'ENC-02': {
      title: 'Fields that look personal are marked personal',
      severity: 'low',
      checkedBy: ['app'],
      fix: 'Write "x-personal": true beside the field in its schema, or "x-personal": false where it is about no person.',
      asvs: ['V14.1.1'],
    },
    'ENC-03': {
      title: 'Only approved ciphers, modes and hash functions are used',
      severity: 'high',
      checkedBy: ['source'],
      fix: 'Use AES-256-GCM with a random 12-byte nonce, SHA-256 or better, and HMAC for signatures.',
      asvs: ['V11.3.1', 'V11.3.2', 'V11.3.4', 'V11.4.1'],
    },
    'ENC-04': {
      title: 'Tokens, codes and keys come from a cryptographic generator',
      severity: 'high',
      checkedBy: ['source'],
      fix: 'Use crypto.randomBytes, randomUUID or randomInt, never Math.random or the time.',
      asvs: ['V11.5.1'],
    },
    'ENC-05': {
      title: 'People can see, take along and delete their data',
      severity: 'medium',
      checkedBy: ['app', 'person'],
      fix: 'Offer access, portability and erasure, and delete data after its retention time.',
      asvs: ['V14.2.7'],
    },
  },
}

/** Before something goes wrong. */
export const backups: Section = {
  name: 'backups',
  about: 'Copies that can be restored.',
  lines: {
    'BCK-01': {
      title: 'Backups are made daily, encrypted, and kept apart from production',
      severity: 'high',
      checkedBy: ['person'],
      fix: 'Schedule encrypted backups of the database, files and audit log to another account or region.',
      asvs: [],
    },
    'BCK-02': {
      title: 'A restore was tried in the last 90 days',
      severity: 'high',
      checkedBy: ['person'],
      fix: 'Restore into an empty environment on a schedule, verify the data, and note the time it took.',
      asvs: [],
    },
  },
}

/** When something goes wrong. */
export const incidents: Section = {
  name: 'incident plan',
  about: 'Who does what when something goes wrong.',
  lines: {
    'INC-01': {
      title: 'An incident plan names severities, people, deadlines and steps',
      severity: 'medium',
      checkedBy: ['app', 'project', 'person'],
      fix: 'Write a plan with severities, contacts, legal deadlines and a playbook for each kind of incident.',
      asvs: [],
    },
    'INC-02': {
      title: 'Finders of vulnerabilities know whom to write to',
      severity: 'low',
      checkedBy: ['requests', 'project'],
      fix: 'Serve /.well-known/security.txt (RFC 9116), or keep a SECURITY.md.',
      asvs: [],
    },
    'INC-03': {
      title: 'The plan was exercised in the last year',
      severity: 'low',
      checkedBy: ['person'],
      fix: 'Play one incident through each year, and write down what was missing.',
      asvs: [],
    },
  },
}
