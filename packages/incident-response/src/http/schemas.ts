/** Schemas of the routes, also for OpenAPI generators. */
import {
  byId,
  byName,
  byRun,
  closed,
  entry,
  free,
  incident,
  listOf,
  name,
  note,
  nullable,
  phase,
  route,
  run,
  severity,
  text,
  type,
  uuid,
} from './schema-parts.ts'

const range = closed({
  since: { type: 'integer', minimum: 0 },
  until: { type: 'integer', minimum: 0 },
})

/** One schema for each route. */
export const schemas = {
  list: route(
    'listIncidents',
    'List incidents, the latest first',
    {
      querystring: closed({
        state: { type: 'string', enum: ['open', 'closed'] },
        severity,
        type,
        assignee: text,
        limit: { type: 'integer', minimum: 1, maximum: 200, default: 50 },
        cursor: uuid,
      }),
    },
    { 200: listOf(incident) },
  ),
  open: route(
    'openIncident',
    'Report a finding; it opens an incident or joins an open one of its type',
    {
      body: closed(
        {
          type,
          severity,
          title: text,
          principalId: text,
          address: text,
          note,
          records: { type: 'integer', minimum: 0 },
        },
        ['type'],
      ),
    },
    { 201: incident },
  ),
  metrics: route(
    'incidentMetrics',
    'Count incidents and measure reactions',
    { querystring: range },
    { 200: free },
  ),
  feed: route(
    'watchIncidents',
    'Follow the timelines of all incidents as server-sent events',
    {},
    { 200: { type: 'string', description: 'text/event-stream' } },
  ),
  playbooks: route('listPlaybooks', 'List the playbooks', {}, { 200: listOf(free) }),
  playbook: route(
    'getPlaybook',
    'Read a playbook as JSON, YAML or CACAO 2.0',
    {
      params: byName,
      querystring: closed({
        format: { type: 'string', enum: ['json', 'yaml', 'cacao'], default: 'json' },
      }),
    },
    { 200: free },
  ),
  drill: route(
    'drillPlaybook',
    'Try a playbook without changing anything, and say what would fail',
    { params: byName },
    { 200: free },
  ),
  simulate: route(
    'simulateFinding',
    'Say what a finding would cause',
    {
      body: closed(
        {
          type,
          severity,
          principalId: text,
          address: text,
          attempts: { type: 'integer', minimum: 0 },
        },
        ['type'],
      ),
    },
    { 200: free },
  ),
  deadLetters: route(
    'listDeadLetters',
    'List messages that could not be delivered',
    {},
    { 200: listOf(free) },
  ),
  retryDeadLetter: route(
    'retryDeadLetter',
    'Send a message again',
    { params: closed({ '*': { type: 'string', minLength: 1, maxLength: 500 } }, ['*']) },
    { 204: { type: 'null', description: 'It is sent again' } },
  ),
  read: route('getIncident', 'Read an incident', { params: byId }),
  timeline: route(
    'getTimeline',
    'Read the timeline of an incident, the oldest entries first',
    {
      params: byId,
      querystring: closed({
        after: { type: 'integer', minimum: 0, default: 0 },
        limit: { type: 'integer', minimum: 1, maximum: 1000, default: 200 },
      }),
    },
    { 200: listOf(entry) },
  ),
  runs: route(
    'listRuns',
    'List the runs of an incident with their steps',
    { params: byId },
    { 200: listOf(run) },
  ),
  acknowledge: route('acknowledgeIncident', 'Say that you take care of an incident', {
    params: byId,
  }),
  assign: route('assignIncident', 'Assign an incident', {
    params: byId,
    body: closed({ assignee: { ...nullable, maxLength: 200 } }, ['assignee']),
  }),
  setSeverity: route('setIncidentSeverity', 'Change the severity of an incident', {
    params: byId,
    body: closed({ severity, note }, ['severity']),
  }),
  comment: route(
    'commentIncident',
    'Add a comment to the timeline',
    { params: byId, body: closed({ text: { ...note, minLength: 1 } }, ['text']) },
    { 201: entry },
  ),
  link: route('linkIncident', 'Link an audit record, an anomaly, an event or a page', {
    params: byId,
    body: closed(
      {
        kind: { type: 'string', enum: ['anomaly', 'audit', 'event', 'url'] },
        id: { type: 'string', minLength: 1, maxLength: 2000 },
      },
      ['kind', 'id'],
    ),
  }),
  transition: route('moveIncident', 'Move an incident to another phase', {
    params: byId,
    body: closed({ to: phase, note }, ['to']),
  }),
  close: route('closeIncident', 'Close an incident', {
    params: byId,
    body: closed(
      { resolution: { type: 'string', enum: ['resolved', 'false_positive', 'duplicate'] }, note },
      ['resolution'],
    ),
  }),
  reopen: route('reopenIncident', 'Open a closed incident again', {
    params: byId,
    body: closed({ note }),
  }),
  merge: route('mergeIncident', 'Merge an incident into another one, which is returned', {
    params: byId,
    body: closed({ into: uuid }, ['into']),
  }),
  startRun: route(
    'runPlaybook',
    'Run a playbook for an incident',
    { params: byId, body: closed({ playbook: name }, ['playbook']) },
    { 201: run },
  ),
  act: route(
    'runAction',
    'Run one action for an incident',
    {
      params: byId,
      body: closed({ action: name, with: { type: 'object', maxProperties: 50 } }, ['action']),
    },
    { 201: run },
  ),
  endStep: route(
    'endStep',
    'End a step that waits for a person, or try its action again',
    {
      params: closed(
        { id: uuid, runId: uuid, stepId: { type: 'string', minLength: 1, maxLength: 1000 } },
        ['id', 'runId', 'stepId'],
      ),
      body: closed({ result: { type: 'string', enum: ['done', 'skipped', 'retry'] }, note }, [
        'result',
      ]),
    },
    { 200: run },
  ),
  undo: route(
    'undoRun',
    'Undo the actions of a run, the last one first',
    { params: byRun },
    { 200: run },
  ),
  cancel: route('cancelRun', 'End a run; what was done stays', { params: byRun }, { 200: run }),
  report: route(
    'getPostMortem',
    'Read the post-mortem report as Markdown, HTML or JSON',
    {
      params: byId,
      querystring: closed({
        format: { type: 'string', enum: ['markdown', 'html', 'json'], default: 'markdown' },
      }),
    },
    {
      200: {
        description: 'The report',
        content: {
          'text/markdown': { schema: { type: 'string' } },
          'text/html': { schema: { type: 'string' } },
          'application/json': { schema: {} },
        },
      },
    },
  ),
} as const
