/** The built-in sinks, by name. */
import { elasticsearchSink } from './elasticsearch.ts'
import { fileSink } from './file.ts'
import { otlpSink } from './otlp.ts'
import { pinoSink } from './pino.ts'
import { syslogSink } from './syslog.ts'
import { webhookSink } from './webhook.ts'

/** Each function makes one item of the option `sinks`. */
export const sinks = Object.freeze({
  pino: pinoSink,
  file: fileSink,
  elasticsearch: elasticsearchSink,
  syslog: syslogSink,
  otlp: otlpSink,
  webhook: webhookSink,
})
