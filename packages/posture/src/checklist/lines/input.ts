/** The lines on validation and injection. */
import type { Section } from '../line.ts'

/** What the app accepts. */
export const validation: Section = {
  name: 'validation and bounds',
  about: 'What the app accepts, how much of it, and for how long.',
  lines: {
    'VAL-01': {
      title: 'Every route that reads a body validates it',
      severity: 'high',
      checkedBy: ['app'],
      fix: 'Declare schema.body with types, bounds and "additionalProperties: false".',
      asvs: ['V2.2.1', 'V2.2.2'],
    },
    'VAL-02': {
      title: 'Every route that reads a query or a parameter validates it',
      severity: 'medium',
      checkedBy: ['app'],
      fix: 'Declare schema.querystring and schema.params.',
      asvs: ['V2.2.1'],
    },
    'VAL-03': {
      title: 'Text, lists and numbers of a request are bounded',
      severity: 'low',
      checkedBy: ['app'],
      fix: 'Add maxLength, maxItems and maximum to each schema; "limit" and "page" above all.',
      asvs: ['V2.2.1', 'V15.2.2'],
    },
    'VAL-04': {
      title: 'Unknown members of a body are refused or removed',
      severity: 'medium',
      checkedBy: ['app'],
      fix: 'Set "additionalProperties: false" on each object of a body.',
      asvs: ['V15.3.3'],
    },
    'VAL-05': {
      title: 'Bodies are at most 10 MiB',
      severity: 'medium',
      checkedBy: ['app'],
      fix: 'Keep bodyLimit at 1 MiB, and raise it for single routes; stream uploads.',
      asvs: ['V5.2.1', 'V15.2.2'],
    },
    'VAL-06': {
      title: 'A slow client cannot hold a request open',
      severity: 'low',
      checkedBy: ['app'],
      fix: 'Set requestTimeout (for instance 30 000 ms), also behind a proxy.',
      asvs: ['V15.2.2'],
    },
    'VAL-07': {
      title: 'JSON cannot change prototypes',
      severity: 'high',
      checkedBy: ['app', 'source'],
      fix: 'Leave onProtoPoisoning and onConstructorPoisoning at "error"; copy known members only.',
      asvs: ['V15.3.6'],
    },
    'VAL-08': {
      title: 'Uploads are limited in size and number, and their type is checked',
      severity: 'medium',
      checkedBy: ['app', 'source', 'person'],
      fix: 'Set limits.fileSize and limits.files, read the type from the content, and store under generated names.',
      asvs: ['V5.2.1', 'V5.2.2', 'V5.3.2'],
    },
    'VAL-09': {
      title: 'Responses contain only what their schema lists',
      severity: 'low',
      checkedBy: ['app'],
      fix: 'Declare schema.response for each success, so that new columns are not sent by accident.',
      asvs: ['V15.3.1', 'V14.2.6'],
    },
  },
}

/** Input that becomes a command. */
export const injection: Section = {
  name: 'injection',
  about: 'Input that becomes part of a query, a command, a path or an address.',
  lines: {
    'INJ-01': {
      title: 'SQL is never built from values of a request',
      severity: 'critical',
      checkedBy: ['source', 'requests'],
      fix: 'Pass values as parameters ($1, ?), and choose names of columns from a list.',
      asvs: ['V1.2.4'],
    },
    'INJ-02': {
      title: 'No shell runs text of a request',
      severity: 'critical',
      checkedBy: ['source'],
      fix: 'Use execFile with an array of arguments and without a shell.',
      asvs: ['V1.2.5'],
    },
    'INJ-03': {
      title: 'No text becomes code',
      severity: 'critical',
      checkedBy: ['source'],
      fix: 'Remove eval, new Function and vm; parse data with JSON.parse.',
      asvs: ['V1.3.2'],
    },
    'INJ-04': {
      title: 'A path of the file system is never built from values of a request',
      severity: 'critical',
      checkedBy: ['source', 'requests'],
      fix: 'Use generated names, or path.basename and a check that the result stays in its folder.',
      asvs: ['V5.3.2'],
    },
    'INJ-05': {
      title: 'Filters of a document database are not taken from a request',
      severity: 'high',
      checkedBy: ['source'],
      fix: 'Build the filter from members whose type a schema has checked; refuse names that begin with "$".',
      asvs: ['V1.2.4'],
    },
    'INJ-06': {
      title: 'The app does not fetch addresses of a request',
      severity: 'high',
      checkedBy: ['source'],
      fix: 'Choose hosts from a list, or use a fetch that refuses private addresses and follows no redirect.',
      asvs: ['V1.3.6', 'V15.3.2'],
    },
    'INJ-07': {
      title: 'Redirects lead to known places only',
      severity: 'medium',
      checkedBy: ['requests', 'source'],
      fix: 'Accept paths of this site only, or names from a list.',
      asvs: ['V3.7.2'],
    },
    'INJ-08': {
      title: 'Regular expressions are not built from a request, and none is exponential',
      severity: 'medium',
      checkedBy: ['source', 'app'],
      fix: 'Escape the text or use string search; rewrite nested quantifiers such as (a+)+.',
      asvs: ['V1.2.9', 'V1.3.12'],
    },
    'INJ-09': {
      title: 'Data of other parties is parsed, and never deserialized into objects with code',
      severity: 'critical',
      checkedBy: ['source'],
      fix: 'Use JSON.parse, or yaml.load with its safe schema; remove node-serialize and the like.',
      asvs: ['V1.5.2'],
    },
  },
}
